from __future__ import annotations

import pickle

from fsspec_failover.report import Failover, Ledger, ReadReport


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
