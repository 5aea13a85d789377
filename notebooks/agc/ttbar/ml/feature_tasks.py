"""One piece of a file with its jets assigned: its tally, and the chosen features."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agc.errors import InputFileError
from agc.fast.columns import BRANCHES, read_columns
from agc.fast.processor import add_sums
from agc.fast.tally import failed_tally, found_in, tally_of
from agc.inputs.pieces import Piece, read_piece
from agc.inputs.variations import NOMINAL
from agc.ttbar.features import feature_histograms
from agc.ttbar.ml.assignments import ASSIGNMENT_BRANCHES, read_assignment_columns
from agc.ttbar.ml.jet_assignment import feature_sums
from agc.ttbar.ml.scoring import Assignment, InferenceReport, score

if TYPE_CHECKING:
    import hist

    from agc.inputs.columns import FloatArray, IntArray

__all__ = ["collected_features", "tally_with_features"]


def tally_with_features(
    piece: Piece, *, chunksize: int | None, assignment: Assignment
) -> dict[str, Any]:
    """Tally a piece's events, and the features of each one's best jet assignment.

    Parameters
    ----------
    piece
        What to read; every column that is needed is read once.
    chunksize
        As `agc.fast.tasks.tally_pieces` takes it.
    assignment
        What to assign jets with.

    Returns
    -------
    dict
        As the tasks of `agc.fast.tasks.tally_pieces`; a tally has ``"features"``
        (`agc.ttbar.ml.jet_assignment.FeatureSums`) and ``"inference"`` besides.
    """
    begin = time.perf_counter()
    entries = None
    try:
        arrays, n_bytes, entries = read_piece(
            piece, {**BRANCHES, **ASSIGNMENT_BRANCHES}, chunksize
        )
        events = read_columns(arrays, file=piece.file)
        columns = read_assignment_columns(arrays, events, file=piece.file)
    except InputFileError as error:
        n_events = (piece.stop or 0) - (piece.start or 0)
        tally = failed_tally(piece.sample, n_events, error)
    else:
        reports = []

        def scores_of(
            event: IntArray, n_jets: IntArray, features: FloatArray
        ) -> npt.NDArray[np.float32]:
            scores, report = score(assignment, event, n_jets, features)
            reports.append(report)
            return scores

        n_events = len(events.event)
        tally = tally_of(piece.sample, events, n_events=n_events, bytes_read=n_bytes)
        tally["features"] = feature_sums(
            events,
            columns,
            assignment.models,
            nominal_only=piece.sample[1] != NOMINAL,
            score=scores_of,
        )
        tally["inference"] = sum(reports, InferenceReport())
    return found_in(piece, tally, entries if chunksize else None, begin)


def collected_features(
    files: dict[str, dict[str, Any]],
) -> tuple[dict[str, hist.Hist[Any]], InferenceReport]:
    """Turn the files' tallies into histograms of the features.

    Parameters
    ----------
    files
        Tallies by dataset and file.

    Returns
    -------
    histograms : dict of str to hist.Hist
        By feature, in events, as `agc.ttbar.features.feature_histograms`.
    report : InferenceReport
        Where permutations were scored.
    """
    histograms = feature_histograms()
    report = InferenceReport()
    for _, tallies in sorted(files.items()):
        good = [t for _, t in sorted(tallies.items()) if not t["errors"]]
        if good:
            ((process, variation),) = good[0]["sample"]
            sums = np.sum([tally["features"].sums for tally in good], axis=0)
            add_sums(histograms, process, variation, sums)
            report = sum((tally["inference"] for tally in good), report)
    return histograms, report
