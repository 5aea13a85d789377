"""The command ``python -m agc.simulation``: make the stand-in samples."""

from __future__ import annotations

import sys
from pathlib import Path

from agc.simulation.command import Task, run
from agc.simulation.events import simulate_batch
from agc.simulation.manifest import describe
from agc.simulation.processes import RECIPES
from agc.simulation.rootfile import NANOAOD

TASK = Task(
    program="python -m agc.simulation",
    name="ttbar",
    folder=Path(__file__).resolve().parents[2] / "inputs",
    recipes=RECIPES,
    simulate=simulate_batch,
    describe=describe,
    layout=NANOAOD,
)


def main(argv: list[str] | None = None) -> int:
    """Make samples and their manifest; see `agc.simulation.command.run`."""
    return run(argv, TASK)


if __name__ == "__main__":
    sys.exit(main())
