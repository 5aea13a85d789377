"""One piece of a file with its jets assigned: its tally, and the chosen features."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from agc.errors import InputFileError
from agc.fast.columns import BRANCHES, read_columns
from agc.fast.engine import histograms_of
from agc.hists.fill import dataset_histograms, normalised
from agc.hists.tasks import failed_tally, found_in, tally_of
from agc.inputs.pieces import Piece, read_piece
from agc.inputs.variations import NOMINAL
from agc.ttbar.features import feature_variables
from agc.ttbar.ml.assignments import ASSIGNMENT_BRANCHES, read_assignment_columns
from agc.ttbar.ml.jet_assignment import feature_sums
from agc.ttbar.ml.scoring import Assignment, InferenceReport, score

if TYPE_CHECKING:
    import hist
    import numpy as np
    import numpy.typing as npt

    from agc.fast.engine import CompiledTtbar
    from agc.hists.run import Result
    from agc.inputs.columns import FloatArray, IntArray
    from agc.inputs.config import Config

__all__ = ["collected_features", "tally_with_features"]


def tally_with_features(
    piece: Piece,
    *,
    engine: CompiledTtbar,
    chunksize: int | None,
    assignment: Assignment,
) -> dict[str, Any]:
    """Tally a piece's events, and the features of each one's best jet assignment.

    Every column that is needed is read once. With a chunk size, the file is cut into
    pieces of at most so many entries, and the first is looked at. Returned is what
    `agc.fast.engine.CompiledTtbar.tally` returns; a tally has ``"features"``
    (`agc.ttbar.ml.jet_assignment.FeatureSums`) and ``"inference"`` besides.
    """
    begin = time.perf_counter()
    entries = None
    try:
        arrays, n_events, n_bytes, entries = read_piece(
            piece, {**BRANCHES, **ASSIGNMENT_BRANCHES}, chunksize
        )
        events = read_columns(arrays, file=piece.file)
        columns = read_assignment_columns(arrays, events, file=piece.file)
    except InputFileError as error:
        tally = failed_tally(piece, error)
    else:
        reports = []

        def scores_of(
            event: IntArray, n_jets: IntArray, features: FloatArray
        ) -> npt.NDArray[np.float32]:
            scores, report = score(assignment, event, n_jets, features)
            reports.append(report)
            return scores

        output = engine.output_of(piece.sample, events)
        tally = tally_of(piece.sample, output, n_events=n_events, n_bytes=n_bytes)
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
    result: Result, config: Config
) -> tuple[dict[str, hist.Hist[Any]], InferenceReport]:
    """Turn the sums of a run that assigned jets into histograms of the features.

    They are normalised, as `agc.ttbar.features.feature_variables` says; the report is
    of where permutations were scored.
    """
    of_features = dataclasses.replace(config, variables=feature_variables())
    datasets, samples = {}, {}
    report = InferenceReport()
    for dataset, sums in sorted(result.sums.items()):
        ((process, variation),) = sums["sample"]
        empty = dataset_histograms(of_features, process, variation)
        datasets[dataset] = histograms_of(sums["features"].sums, empty, variation)
        samples[dataset] = process, variation
        report += sums["inference"]
    return normalised(datasets, result.weights, samples, of_features), report
