"""The table of faults: the marked tests of all folders, printed at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

VERDICTS = {"passed": "holds", "skipped": "not tried here", "failed": "BROKEN"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Send a test's row along with its outcome, from whichever process runs it."""
    for item in items:
        if mark := item.get_closest_marker("fault"):
            item.user_properties.append(("fault", mark.args))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows: dict[str, tuple[str, str, str]] = {}
    verdicts: dict[str, str] = {}
    for outcome in ("passed", "skipped", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if row := dict(getattr(report, "user_properties", ())).get("fault"):
                rows[report.nodeid] = tuple(row)
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
