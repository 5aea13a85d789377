"""What runs on a worker: one piece of a file becomes one tally."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agc.errors import InputFileError
from agc.fast.columns import BRANCHES, read_columns
from agc.fast.tally import failed_tally, found_in, tally_of
from agc.inputs.pieces import Piece, read_piece, run_tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coffea.processor.executor import ExecutorBase

__all__ = ["tally_pieces"]


def tally_pieces(
    pieces: Sequence[Piece],
    executor: ExecutorBase,
    *,
    chunksize: int | None = None,
    skims: Path | None = None,
    with_features: Callable[..., dict[str, Any]] | None = None,
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
    with_features
        Assigns jets, too (`agc.ttbar.ml.feature_tasks.tally_with_features`); not with
        skims, which lack the columns.

    Returns
    -------
    dict
        ``"files"``: tallies by dataset and file, as `tally_of`, and what
        ``with_features`` adds; ``"seconds"``: time inside
        the tasks, summed; with ``chunksize``, ``"entries"``: those of each file that
        can be used, by dataset and file.
    """
    if with_features is None:
        task = partial(_tally, chunksize=chunksize, skims=skims)
    else:
        task = partial(with_features, chunksize=chunksize)
    return run_tasks(task, pieces, executor, description="Processing")


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
            from agc.fast.skims import load_skim

            skim = load_skim(piece.file, piece.tree, skims)
            columns, n_bytes, n_events = skim.events, skim.bytes_read, skim.entries
    except InputFileError as error:
        n_events = (piece.stop or 0) - (piece.start or 0)
        tally = failed_tally(piece.sample, n_events, error)
    else:
        tally = tally_of(piece.sample, columns, n_events=n_events, bytes_read=n_bytes)
    return found_in(piece, tally, entries if chunksize else None, begin)
