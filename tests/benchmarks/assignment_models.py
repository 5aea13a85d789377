"""Two classifiers of the size of the AGC's, trained here on the stand-in sample.

They are for measuring only. Their labels need no truth: right is, of each event's
permutations, the one whose masses fit a W and a top quark best, both b jets b-tagged.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xgboost

from agc.fast.columns import BRANCHES, read_columns
from agc.inputs.filesets import STANDIN_FOLDER, TREE
from agc.inputs.rootfiles import load_arrays
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.assignments import (
    ASSIGNMENT_BRANCHES,
    permutation_features,
    read_assignment_columns,
    signal_events,
)

N_TREES, MAX_DEPTH = 200, 6
#: Events to train on: enough for trees that are full.
N_EVENTS = 2000

_COLUMN = {feature.name: i for i, feature in enumerate(FEATURES)}


class Classifiers(NamedTuple):
    """The two of them: each scores the events of the other parity."""

    trained_on_even: xgboost.XGBClassifier
    trained_on_odd: xgboost.XGBClassifier


def train() -> Classifiers:
    """Train them, on one thread; some seconds."""
    path = str(STANDIN_FOLDER / "ttbar__nominal.root")
    arrays, _ = load_arrays(path, TREE, BRANCHES | ASSIGNMENT_BRANCHES)
    events = read_columns(arrays)
    columns = read_assignment_columns(arrays, events)
    signal = signal_events(events, columns, 0, np.empty(0))
    offsets = signal.offsets[: N_EVENTS + 1]
    features, _ = permutation_features(
        events, columns, 0, np.empty(0), signal, 0, N_EVENTS
    )
    of_event = np.repeat(np.arange(N_EVENTS), np.diff(offsets))
    is_even = (events.event[signal.event] % 2 == 0)[of_event]
    best = _best_fitting(features, offsets)
    labels = best[of_event] == np.arange(len(features))
    return Classifiers(
        *(
            _classifier().fit(features[chosen], labels[chosen])
            for chosen in (is_even, ~is_even)
        )
    )


def _best_fitting(features: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Return the row of each event's best permutation."""
    badness = ((features[:, _COLUMN["mass_w1w2"]] - 80.4) / 12) ** 2
    badness += ((features[:, _COLUMN["mass_w1w2btophad"]] - 172.5) / 20) ** 2
    for b_jet in ("btag_btophad", "btag_btoplep"):
        badness += np.where(features[:, _COLUMN[b_jet]] > 0.5, 0, 10)
    return np.array(
        [begin + np.argmin(badness[begin:end]) for begin, end in pairwise(offsets)]
    )


def _classifier() -> xgboost.XGBClassifier:
    return xgboost.XGBClassifier(
        n_estimators=N_TREES,
        max_depth=MAX_DEPTH,
        learning_rate=0.1,
        tree_method="hist",
        n_jobs=1,
        random_state=1,
    )
