"""The jet assignment as the AGC's reference does it: awkward arrays, each pass anew."""

from __future__ import annotations

import awkward as ak
import numpy as np
import numpy.typing as npt

from agc.ttbar.permutations import MAX_JETS, permutations_of
from benchmarks.assignment_models import Classifiers


def best_features(
    electrons: ak.Array,
    muons: ak.Array,
    jets: ak.Array,
    event: npt.NDArray[np.uint64],
    classifiers: Classifiers,
) -> npt.NDArray[np.float64]:
    """Return the features of each event's best permutation; shape (events, 20)."""
    of_n = {
        n: [list(one) for one in permutations_of(n)] for n in range(4, MAX_JETS + 1)
    }
    n_jets = np.minimum(ak.to_numpy(ak.num(jets)), MAX_JETS)
    permutations = ak.Array([of_n[n] for n in n_jets])
    counts = ak.num(permutations)
    lepton = ak.concatenate([electrons, muons], axis=1)[:, 0]
    features = features_of(lepton, jets, permutations)

    scores = np.zeros(len(features))
    is_odd = np.repeat(event % 2 == 1, counts)
    for rows, classifier in (
        (is_odd, classifiers.trained_on_even),
        (~is_odd, classifiers.trained_on_odd),
    ):
        if rows.any():
            scores[rows] = classifier.predict_proba(features[rows])[:, 1]
    best = ak.to_numpy(ak.argmax(ak.unflatten(scores, counts), axis=1))
    first = np.cumsum(counts) - counts
    return features[first + best]


def features_of(
    lepton: ak.Array, jets: ak.Array, permutations: ak.Array
) -> npt.NDArray[np.float64]:
    """Return the features of all permutations; shape (permutations, 20)."""
    w1, w2, b_had, b_lep = (jets[permutations[..., i]] for i in range(4))

    def distance(a: ak.Array, b: ak.Array) -> ak.Array:
        # not wrapped in phi: the published models were trained like this
        return np.sqrt((a.eta - b.eta) ** 2 + (a.phi - b.phi) ** 2)

    top = w1 + w2 + b_had
    columns = [
        distance(lepton, b_lep),
        distance(w1, w2),
        distance(w1, b_had),
        distance(w2, b_had),
        (lepton + b_lep).mass,
        (w1 + w2).mass,
        top.mass,
        top.pt,
        *(jet.pt for jet in (w1, w2, b_had, b_lep)),
        *(jet.btagCSVV2 for jet in (w1, w2, b_had, b_lep)),
        *(jet.qgl for jet in (w1, w2, b_had, b_lep)),
    ]
    return np.stack([ak.to_numpy(ak.flatten(column)) for column in columns], axis=1)
