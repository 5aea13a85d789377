from __future__ import annotations

import pickle

from casa_env.breakers import FIRST_REST_S, Breakers
from casa_env.reading import Failover, Ledger, ReadReport
from casa_env.sealing import public_key, seal, unseal


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_host_that_failed_is_left_alone_until_its_rest_is_over() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    assert not breakers.resting("a")
    breakers.failed("a", "refused")
    assert breakers.resting("a") == "refused"
    assert not breakers.resting("b")
    clock.now = FIRST_REST_S
    assert not breakers.resting("a")


def test_after_the_rest_one_request_tries_for_all() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    breakers.failed("a", "refused")
    clock.now = FIRST_REST_S
    assert not breakers.resting("a")
    assert breakers.resting("a")
    breakers.succeeded("a")
    assert not breakers.resting("a")


def test_each_rest_is_twice_as_long_but_requests_at_the_same_time_count_once() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    for _ in range(5):
        breakers.failed("a", "refused")
    clock.now = FIRST_REST_S
    assert not breakers.resting("a")
    breakers.failed("a", "refused")
    clock.now += 1.9 * FIRST_REST_S
    assert breakers.resting("a")
    clock.now += 0.1 * FIRST_REST_S
    assert not breakers.resting("a")


def test_reports_of_processes_add_up_and_count_a_file_once() -> None:
    reports = []
    for _ in range(2):
        ledger = Ledger()
        ledger.read("cache", "f", 10)
        ledger.failed_over("down", "f", "refused")
        ledger.failed_over("down", "f", "refused in another way")
        reports.append(ledger.report())
    total = ReadReport.total(pickle.loads(pickle.dumps(reports)))  # noqa: S301 - just made
    assert total.files == {"cache": {"f"}}
    assert total.n_bytes == {"cache": 20}
    assert total.failovers == {Failover("down", "refused"): {"f"}}
    assert "1 files not from down: refused" in str(total)


def test_a_report_may_begin_anew() -> None:
    ledger = Ledger()
    ledger.read("cache", "f", 10)
    ledger.report(reset=True)
    assert ledger.report() == ReadReport()
    assert str(ReadReport()) == "files were read directly: no cache is configured"


def test_a_sealed_message_is_opened_by_whom_it_is_for_and_shows_nothing() -> None:
    message = seal(b"a secret", public_key())
    assert unseal(message) == b"a secret"
    assert b"secret" not in message
    assert seal(b"a secret", public_key()) != message
