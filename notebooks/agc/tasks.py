"""What runs on a worker: one piece of a file becomes one tally.

The pieces go straight to a coffea executor. coffea's ``Runner`` would open each file
once more for every chunk and describe all of its branches, hundreds in NanoAOD, which
takes longer than processing the chunk. A file of one piece is opened once: the task
that tallies its first piece tells how many entries there are.
"""

from __future__ import annotations

import itertools
import math
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from coffea.processor import IterativeExecutor, accumulate

from agc.columns import BRANCHES, Events, FloatArray, read_columns
from agc.errors import InputFileError
from agc.kernel import fill_sums
from agc.rootfiles import opened_tree, tree_arrays
from agc.variations import NOMINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import awkward as ak
    from coffea.processor.executor import ExecutorBase

    from agc.scoring import Assignment

__all__ = [
    "Piece",
    "failed_tally",
    "found_in",
    "pieces_of",
    "read_piece",
    "run_tasks",
    "tally_of",
    "tally_pieces",
]


class Piece(NamedTuple):
    """A file, or a range of its entries."""

    dataset: str
    sample: tuple[str, str]
    """Process and variation."""
    file: str
    tree: str
    start: int | None = None
    stop: int | None = None


def pieces_of(whole: Piece, entries: int, chunksize: int) -> list[Piece]:
    """Cut a file into pieces of nearly equal size.

    Parameters
    ----------
    whole
        The file.
    entries
        Its number of entries.
    chunksize
        The most entries that a piece may have.

    Returns
    -------
    list of Piece
        In order; one even if there are no entries.
    """
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
    """Run a task on every piece and add up what they return.

    Parameters
    ----------
    task
        Returns something that coffea can accumulate.
    pieces
        What to run it on; at least one.
    executor
        Any coffea executor.
    description
        For its progress bar.

    Returns
    -------
    dict
        The sum.
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
    found, _ = run(list(pieces), task, {})
    return found


def read_piece(
    piece: Piece, branches: Mapping[str, npt.DTypeLike], chunksize: int | None
) -> tuple[dict[str, ak.Array], int, int]:
    """Read a piece, or of a whole file the first piece.

    Parameters
    ----------
    piece
        What to read.
    branches
        The columns.
    chunksize
        As `pieces_of` takes it; None: the piece is not to be cut.

    Returns
    -------
    arrays : dict
        One array for each branch.
    bytes_read, entries : int
        Bytes that were requested, and the entries of the whole file.

    Raises
    ------
    InputFileError
        The file cannot be used.
    """
    with opened_tree(piece.file, piece.tree, branches) as tree:
        entries = tree.num_entries
        if chunksize is not None:
            piece = pieces_of(piece, entries, chunksize)[0]
        arrays, n_bytes = tree_arrays(
            tree, piece.file, branches, piece.start, piece.stop
        )
        return arrays, n_bytes, entries


def tally_pieces(
    pieces: Sequence[Piece],
    executor: ExecutorBase,
    *,
    chunksize: int | None = None,
    skims: Path | None = None,
    assignment: Assignment | None = None,
) -> dict[str, Any]:
    """Tally the events of every piece.

    A task goes on where a file cannot be used: an exception would reach us from
    another process as text only, and of one file after the other.

    Parameters
    ----------
    pieces
        What to read; whole files with ``skims`` and with ``chunksize``.
    executor
        Any coffea executor.
    chunksize
        Cut each file into pieces of at most so many entries, and tally the first one;
        None: the pieces are not to be cut.
    skims
        Folder of a skim cache, as the tasks see it.
    assignment
        Assign jets with this, too; not with skims, which lack the columns.

    Returns
    -------
    dict
        ``"files"``: tallies by dataset and file, as `tally_of`, and with an assignment
        what `agc.feature_tasks.tally_with_features` adds; ``"seconds"``: time inside
        the tasks, summed; with ``chunksize``, ``"entries"``: those of each file that
        can be used, by dataset and file.
    """
    task = partial(_tally, chunksize=chunksize, skims=skims)
    if assignment is not None:
        from agc.feature_tasks import tally_with_features

        task = partial(tally_with_features, chunksize=chunksize, assignment=assignment)
    return run_tasks(task, pieces, executor, description="Processing")


def tally_of(
    sample: tuple[str, str],
    columns: Events,
    *,
    n_events: int,
    bytes_read: int,
    resolution: FloatArray | None = None,
) -> dict[str, Any]:
    """Select a chunk's events and return what they add to the histograms.

    Parameters
    ----------
    sample
        Process and variation.
    columns
        The chunk.
    n_events, bytes_read
        What it stands for: a skim has fewer events than its file.
    resolution
        Factors on the jets' pt for ``pt_res_up``, shape (jets,); by default the
        counter-based random numbers.

    Returns
    -------
    dict
        ``sample``, ``events``, ``bytes``, ``sums`` (`agc.kernel.fill_sums`) and
        ``errors`` (none), all of which coffea can add up.
    """
    factors = np.empty(0) if resolution is None else np.asarray(resolution, float)
    return {
        "sample": {sample},
        "events": n_events,
        "bytes": bytes_read,
        "sums": fill_sums(columns, factors, sample[1] != NOMINAL),
        "errors": set(),
    }


def failed_tally(
    sample: tuple[str, str], n_events: int, error: InputFileError
) -> dict[str, Any]:
    """Return the tally of a chunk that cannot be read."""
    return {
        "sample": {sample},
        "events": n_events,
        "bytes": 0,
        "sums": 0.0,
        "errors": {error},
    }


def _tally(
    piece: Piece, *, chunksize: int | None, skims: Path | None
) -> dict[str, Any]:
    """Return one piece's tally."""
    begin = time.perf_counter()
    entries = None
    try:
        if skims is None:
            arrays, n_bytes, entries = read_piece(piece, BRANCHES, chunksize)
            columns = read_columns(arrays, file=piece.file)
            n_events = len(columns.run)
        else:
            from agc.skims import load_skim

            skim = load_skim(piece.file, piece.tree, skims)
            columns, n_bytes, n_events = skim.events, skim.bytes_read, skim.entries
    except InputFileError as error:
        n_events = (piece.stop or 0) - (piece.start or 0)
        tally = failed_tally(piece.sample, n_events, error)
    else:
        tally = tally_of(piece.sample, columns, n_events=n_events, bytes_read=n_bytes)
    return found_in(piece, tally, entries if chunksize else None, begin)


def found_in(
    piece: Piece, tally: dict[str, Any], entries: int | None, begin: float
) -> dict[str, Any]:
    """Return what a task says of its piece, as `tally_pieces` adds it up.

    Parameters
    ----------
    piece, tally
        What was tallied, and its tally.
    entries
        Of the whole file, if they are to be told and it can be used.
    begin
        When the task began, on `time.perf_counter`.
    """
    found = {
        "files": {piece.dataset: {piece.file: tally}},
        "seconds": time.perf_counter() - begin,
    }
    if entries is not None and not tally["errors"]:
        found["entries"] = {(piece.dataset, piece.file): entries}
    return found
