"""Compile what the notebooks use before anybody waits: ``python -m agc.warm_up``.

An image does this once when it is built; `agc.compiled` keeps the machine code beside
the sources, and copies it where that folder is read-only.
"""

from __future__ import annotations

from coffea.processor import IterativeExecutor

from agc.inputs.filesets import ttbar_fileset
from agc.ttbar.runs import run_ttbar

__all__ = ["warm_up"]


def warm_up() -> None:
    """Run the ttbar analysis over the shipped sample, in this process.

    Only what has run is compiled, and for the types that it ran with. It takes half a
    minute where nothing is compiled yet, and seconds elsewhere.
    """
    run_ttbar(ttbar_fileset(), IterativeExecutor(status=False))


if __name__ == "__main__":
    warm_up()
