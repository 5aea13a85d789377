"""The command ``python -m agc.hzz.simulation``: make the stand-in samples."""

from __future__ import annotations

import sys

from agc.hzz.files import STANDIN_FOLDER
from agc.hzz.simulation.events import MINI, describe, simulate_batch
from agc.hzz.simulation.recipes import RECIPES
from agc.simulation.command import Task, run

TASK = Task(
    program="python -m agc.hzz.simulation",
    name="HZZ",
    folder=STANDIN_FOLDER,
    recipes=RECIPES,
    simulate=simulate_batch,
    describe=describe,
    layout=MINI,
)


def main(argv: list[str] | None = None) -> int:
    """Make samples and their manifest; see `agc.simulation.command.run`."""
    return run(argv, TASK)


if __name__ == "__main__":
    sys.exit(main())
