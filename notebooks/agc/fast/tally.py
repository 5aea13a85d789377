"""What one piece of a file adds to the histograms."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.fast.kernel import fill_sums
from agc.inputs.variations import NOMINAL

if TYPE_CHECKING:
    from agc.errors import InputFileError
    from agc.fast.columns import Events
    from agc.inputs.columns import FloatArray
    from agc.inputs.pieces import Piece

__all__ = ["failed_tally", "found_in", "tally_of"]


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
        ``sample``, ``events``, ``bytes``, ``sums`` (`agc.fast.kernel.fill_sums`) and
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
