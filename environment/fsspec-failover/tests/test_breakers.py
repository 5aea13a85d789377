from __future__ import annotations

from fsspec_failover.breakers import FIRST_REST_S, Breakers


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
