"""Pieces of files, and running a task on each of them.

The pieces go straight to a coffea executor. coffea's ``Runner`` would open each file
once more for every chunk and describe all of its branches, hundreds in NanoAOD, which
takes longer than processing the chunk. A file of one piece is opened once: the task
that tallies its first piece tells how many entries there are.
"""

from __future__ import annotations

import itertools
import math
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from coffea.processor import IterativeExecutor, accumulate

from agc.errors import workers_died
from agc.inputs.rootfiles import opened_tree, tree_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import awkward as ak
    import numpy.typing as npt
    from coffea.processor.executor import ExecutorBase

__all__ = ["Piece", "pieces_of", "read_piece", "run_tasks"]


class Piece(NamedTuple):
    """A file, or a range of its entries."""

    dataset: str
    sample: tuple[str, str]
    """Process and variation."""
    file: str
    tree: str
    start: int | None = None
    stop: int | None = None
    half: int | None = None
    """0 or 1: of the events, those with an even or an odd number; None: all."""


def pieces_of(whole: Piece, entries: int, chunksize: int) -> list[Piece]:
    """Cut a file into pieces of nearly equal size, at least one, in order."""
    n = max(1, math.ceil(entries / chunksize))
    edges = [entries * i // n for i in range(n + 1)]
    return [
        whole._replace(start=start, stop=stop)
        for start, stop in itertools.pairwise(edges)
    ]


def run_tasks(
    task: Callable[[Piece], dict[str, Any]],
    pieces: Sequence[Piece],
    executor: ExecutorBase,
    *,
    description: str,
) -> dict[str, Any]:
    """Run a task on every piece and add up what they return, on any coffea executor.

    Raises
    ------
    AnalysisError
        A piece has ended every worker that it was given to.
    """
    if isinstance(executor, IterativeExecutor) and not executor.status:
        # coffea 2026.9 draws a progress bar all the same: longer than reading a skim
        found: dict[str, Any] = accumulate(map(task, pieces))
        return found
    run = executor.copy(
        function_name=description.lower(),
        desc=description,
        unit="piece",
        compression=None,
    )
    try:
        found, _ = run(list(pieces), task, {})
    except _failures() as error:
        # of Dask's, coffea (2026.9) makes a RuntimeError that names the piece
        if type(error.__context__ or error) not in _failures()[1:]:
            raise
        named = (_events(piece) for piece in pieces if str(piece) in str(error))
        raise workers_died(next(named, "a task, not named here,")) from None
    return found


def _failures() -> tuple[type[Exception], ...]:
    """Return what executors raise where a task has ended its workers."""
    from distributed import KilledWorker

    parsl = sys.modules.get("parsl.executors.high_throughput.errors")
    own = (parsl.ManagerLost, parsl.WorkerLost) if parsl else ()
    return RuntimeError, KilledWorker, *own


def _events(piece: Piece) -> str:
    if piece.start is None:
        return f"the first events of {piece.file}"
    return f"events {piece.start:,} to {piece.stop:,} of {piece.file}"


def read_piece(
    piece: Piece, branches: Mapping[str, npt.DTypeLike | None], chunksize: int | None
) -> tuple[dict[str, ak.Array], int, int, int]:
    """Read a piece, or of a whole file the first piece.

    Returns one array for each branch, of the piece's half of the events; the events
    that were read, and the bytes that were requested; and the entries of the whole
    file. Without ``chunksize``, the piece is not to be cut.
    """
    with opened_tree(piece.file, piece.tree, branches) as (tree, before):
        entries = tree.num_entries
        if chunksize is not None:
            piece = pieces_of(piece, entries, chunksize)[0]
        arrays = tree_arrays(tree, piece.file, branches, piece.start, piece.stop)
        n_bytes = tree.file.source.num_requested_bytes - before
    n_events = len(next(iter(arrays.values())))
    if piece.half is not None:
        chosen = arrays["event"] % 2 == piece.half
        arrays = {name: array[chosen] for name, array in arrays.items()}
    return arrays, n_events, n_bytes, entries
