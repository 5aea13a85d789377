"""Assign jets to the decay of a top-quark pair with a BDT, and fill what it finds.

Every permutation of an event's leading jets is scored; the features of the best one
are histogrammed. Each kinematic variation is scored once: weight variations reuse the
nominal one's choice.

Notes
-----
How to score was measured: nanoseconds for one permutation and tree on one thread of
a shared machine, medians of 5 in one run of ``tests/benchmarks/scoring.py`` on the
stand-in's ttbar events, 999,960 rows, XGBoost 3.2.0, tl2cgen 1.0.0 (trees as C code,
gcc 12), onnxruntime 1.32.0. With 10,000 rows each is within 9 % of this.

====================  ========  =======  =======  ====
model                 in place  DMatrix  tl2cgen  onnx
====================  ========  =======  =======  ====
100 trees, depth 5       16.19    19.43    19.26  31.7
200 trees, depth 6       19.36    21.48    24.76  35.7
200 trees, depth 8       22.00    23.56    24.72  37.2
====================  ========  =======  =======  ====

So XGBoost itself predicts, in place. Probabilities of tl2cgen and onnxruntime differ
from XGBoost's by up to 5e-7.

Scores are log-odds, not probabilities: the order is the same, but probabilities near 1
round to equal numbers, of which the reference implementation then takes the first.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from agc.compiled import compiled
from agc.errors import AnalysisError
from agc.fast.columns import Events
from agc.fast.kernel import FILLED_VARIATIONS
from agc.hists.build import N_BINS
from agc.inputs.variations import KINEMATIC_VARIATIONS
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.assignments import (
    AssignmentColumns,
    SignalEvents,
    add_features,
    permutation_features,
    signal_events,
)
from agc.ttbar.permutations import FIRST_PERMUTATION

if TYPE_CHECKING:
    import xgboost

    from agc.inputs.columns import FloatArray, IntArray

__all__ = [
    "AssignmentModels",
    "FeatureSums",
    "assignment_models",
    "best_rows",
    "feature_sums",
    "permutation_scores",
]

#: Permutations in memory at a time: 5 MB of features.
BLOCK_ROWS = 2**16


@dataclass(frozen=True)
class AssignmentModels:
    """Two classifiers, each for the events that it was not trained on.

    A model is kept as XGBoost saves it: small enough to go with every task. A process
    unpacks it once.
    """

    trained_on_even: bytes
    """Scores the events with an odd number."""

    trained_on_odd: bytes
    """Scores the events with an even number."""


@dataclass(frozen=True)
class FeatureSums:
    """What a chunk adds to the features' histograms; chunks are added with ``+``."""

    sums: npt.NDArray[np.float64]
    """Sums of weights and of squared weights; shape (features, variations, bins with
    under- and overflow, 2), variations as `agc.fast.kernel.FILLED_VARIATIONS`."""

    events: npt.NDArray[np.int64]
    """Events scored, by kinematic variation."""

    ties: npt.NDArray[np.int64]
    """Events with several best permutations: the first of them was taken."""

    def __add__(self, other: FeatureSums) -> FeatureSums:
        """Return the sums of both; exact, so that the order does not matter."""
        return FeatureSums(
            self.sums + other.sums, self.events + other.events, self.ties + other.ties
        )


def assignment_models(
    *, trained_on_even: xgboost.Booster, trained_on_odd: xgboost.Booster
) -> AssignmentModels:
    """Pack two classifiers for `feature_sums`.

    They are ``binary:logistic`` models of the columns `agc.ttbar.features.FEATURES`; of
    an `xgboost.XGBClassifier`, what ``get_booster()`` returns. Trees after the best
    iteration of a training that stopped early are left out.
    """
    return AssignmentModels(_packed(trained_on_even), _packed(trained_on_odd))


def _packed(booster: xgboost.Booster) -> bytes:
    best = booster.attr("best_iteration")
    if best is not None:
        booster = booster[: int(best) + 1]
    return bytes(booster.save_raw("ubj"))


@lru_cache(maxsize=4)
def _scorer(model: bytes) -> xgboost.Booster:
    """Unpack a model, and refuse one whose scores would mean something else."""
    import xgboost

    booster = xgboost.Booster(model_file=bytearray(model))
    learner = json.loads(booster.save_config())["learner"]
    found = (
        learner["objective"]["name"],
        learner["gradient_booster"]["name"],
        booster.num_features(),
    )
    if found != ("binary:logistic", "gbtree", len(FEATURES)):
        msg = (
            f"this model is {found[0]}, {found[1]}, of {found[2]} features: the jet "
            f"assignment needs binary:logistic, gbtree, of {len(FEATURES)} numbers "
            "(agc.ttbar.features)"
        )
        raise AnalysisError(msg)
    return booster


def feature_sums(
    events: Events,
    columns: AssignmentColumns,
    models: AssignmentModels,
    *,
    resolution: FloatArray | None = None,
    nominal_only: bool = False,
    threads: int = 1,
    score: Callable[..., npt.NDArray[np.float32]] | None = None,
) -> FeatureSums:
    """Assign the jets of a chunk's signal events and sum the chosen features.

    ``resolution`` are factors on the jets' pt for ``pt_res_up``, shape (jets,); by
    default the counter-based random numbers of `agc.ttbar.smearing` give them.
    ``nominal_only`` fills the first variation only: for samples that are a variation
    themselves. The sums are unnormalised. An `AnalysisError` says that a model is none
    of a jet assignment.

    Parameters
    ----------
    threads
        Cores that this call may use. Masks need one; a model that goes to XGBoost
        uses so many and no more, whatever ``OMP_NUM_THREADS`` says.
    score
        What scores instead of the models: takes events, jets and features as
        `permutation_scores` does, and returns the same.
    """
    factors = np.empty(0) if resolution is None else np.asarray(resolution, float)
    n_variations = len(KINEMATIC_VARIATIONS)
    total = FeatureSums(
        np.zeros((len(FEATURES), len(FILLED_VARIATIONS), N_BINS + 2, 2)),
        np.zeros(n_variations, np.int64),
        np.zeros(n_variations, np.int64),
    )
    for variation in range(1 if nominal_only else n_variations):
        signal = signal_events(events, columns, variation, factors)
        total.events[variation] = len(signal.event)
        for begin, end in _blocks(signal):
            features, pt = permutation_features(
                events, columns, variation, factors, signal, begin, end
            )
            of = (events.event[signal.event[begin:end]], signal.n_jets[begin:end])
            if score is None:
                scores = permutation_scores(models, *of, features, threads=threads)
            else:
                scores = score(*of, features)
            rows, ties = best_rows(signal.offsets[begin : end + 1], scores)
            total.ties[variation] += ties
            weights = variation == 0 and not nominal_only
            add_features(total.sums, variation, features[rows], pt, weights)
    return total


def _blocks(signal: SignalEvents) -> list[tuple[int, int]]:
    """Cut the signal events into ranges of at most `BLOCK_ROWS` permutations."""
    blocks, begin = [], 0
    while begin < len(signal.event):
        last = signal.offsets[begin] + BLOCK_ROWS
        end = int(np.searchsorted(signal.offsets, last, side="right")) - 1
        blocks.append((begin, end))
        begin = end
    return blocks


def permutation_scores(
    models: AssignmentModels,
    event: IntArray,
    n_jets: IntArray,
    features: FloatArray,
    *,
    threads: int = 1,
) -> npt.NDArray[np.float32]:
    """Score every permutation of some events with the model not trained on them.

    ``event`` are the events' numbers and ``n_jets`` their jets to permute, 4 to 6, both
    of the shape (events,); the features, shape (permutations, 20) and float32, are
    those of `agc.ttbar.ml.assignments.permutation_features`. Returned are margins, the
    log-odds that a permutation is right; shape (permutations,), float32. They order
    permutations as their probabilities do, but do not become equal where those are
    rounded to 1. An `AnalysisError` says that a model is none of a jet assignment.
    """
    scores = np.empty(len(features), np.float32)
    odd = np.repeat(event % 2 == 1, np.diff(FIRST_PERMUTATION)[n_jets])
    for model, rows in ((models.trained_on_even, odd), (models.trained_on_odd, ~odd)):
        scorer = _scorer(model)
        scorer.set_param({"nthread": threads})
        scores[rows] = scorer.inplace_predict(features[rows], predict_type="margin")
    return scores


@compiled
def best_rows(offsets: IntArray, scores: FloatArray) -> tuple[IntArray, int]:
    """Return each event's best permutation and count the events with several.

    Offsets, shape (events + 1,), are where each event's permutations begin, and their
    end; the first one's need not begin at 0. Rows, shape (events,), are counted from
    ``offsets[0]``; of equal scores the first wins.
    """
    rows = np.empty(len(offsets) - 1, np.int64)
    ties = 0
    for i in range(len(rows)):
        best, tied = offsets[i] - offsets[0], False
        for row in range(best + 1, offsets[i + 1] - offsets[0]):
            if scores[row] > scores[best]:
                best, tied = row, False
            elif scores[row] == scores[best]:
                tied = True
        rows[i] = best
        ties += tied
    return rows, ties
