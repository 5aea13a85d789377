"""Figures that tests measure and print; a time is judged by people, not by a test."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Figures:
    """What was measured, in order."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(
        self, name: str, value: float, unit: str, *, target: float = 0, note: str = ""
    ) -> None:
        """Keep a figure, with the target that it has to stay below, if there is one."""
        wanted = ""
        if target:
            verdict = "holds" if value <= target else "MISSED"
            wanted = f"at most {target:g} {unit}: {verdict}"
        shown = f"{value:.3g}" if value < 100 else f"{value:.0f}"
        self.rows.append((name, f"{shown} {unit}", wanted or note))

    def table(self) -> str:
        """Return all of it, a line each."""
        widths = [max(len(row[column]) for row in self.rows) for column in (0, 1)]
        return "\n".join(
            f"{name:<{widths[0]}}  {value:>{widths[1]}}  {note}".rstrip()
            for name, value, note in self.rows
        )
