"""The table of faults: the marked tests of all folders, printed at the end."""

from __future__ import annotations

import pytest

ROWS = pytest.StashKey[dict[str, tuple[str, str, str]]]()
VERDICTS = {"passed": "holds", "skipped": "not tried here", "failed": "BROKEN"}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS] = {}


def pytest_collection_finish(session: pytest.Session) -> None:
    rows = session.config.stash.get(ROWS, {})
    for item in session.items:
        if mark := item.get_closest_marker("fault"):
            area, injected, wanted = mark.args
            rows[item.nodeid] = (area, injected, wanted)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    rows = config.stash.get(ROWS, {})
    verdicts: dict[str, str] = {}
    for outcome in ("passed", "skipped", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if getattr(report, "nodeid", "") in rows:
                verdicts[report.nodeid] = VERDICTS.get(outcome, "BROKEN")
    if not verdicts:
        return
    table: dict[tuple[str, str, str], str] = {}
    for outcome in VERDICTS.values():  # the worst of each row
        table |= {rows[node]: outcome for node in verdicts if verdicts[node] == outcome}
    lines = [("area", "injected", "wanted", "verdict")]
    lines += sorted((*row, verdict) for row, verdict in table.items())
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    terminalreporter.section(f"{len(table)} faults")
    for line in lines:
        cells = (c.ljust(w) for c, w in zip(line, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
