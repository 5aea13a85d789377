"""Jet assignment written the obvious way, and small models to score with."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import vector
import xgboost

from agc.fast.columns import BRANCHES, Events, read_columns
from agc.inputs.filesets import TREE, standin_fileset
from agc.inputs.rootfiles import load_arrays
from agc.ttbar.ml.assignments import (
    ASSIGNMENT_BRANCHES,
    AssignmentColumns,
    permutation_features,
    read_assignment_columns,
    signal_events,
)
from support.nanoaod import random_events
from support.oracle import resolution_factors

#: What `agc.fast.kernel.fill_sums` takes for the counter-based random numbers.
DRAWN = np.empty(0)

Arrays = dict[str, ak.Array]
Chunk = tuple[Events, AssignmentColumns]


def standin_arrays(dataset: str = "ttbar__nominal", stop: int | None = None) -> Arrays:
    (path,) = standin_fileset()[dataset]["files"]
    branches = {**BRANCHES, **ASSIGNMENT_BRANCHES}
    return load_arrays(path, TREE, branches, entry_stop=stop)[0]


def random_arrays(n: int, seed: int = 1, *, max_jets: int = 9) -> Arrays:
    """Make events with all columns, among them directions on both sides of pi."""
    events = random_events(n, seed, max_jets=max_jets)
    rng = np.random.default_rng(seed)
    arrays = {
        f"{collection}_{field}": events[collection][field]
        for collection in ("Electron", "Muon", "Jet")
        for field in events[collection].fields
    }
    for name in ("run", "luminosityBlock", "event"):
        arrays[name] = events[name]
    for branch, low, high in (
        ("Electron_phi", -np.pi, np.pi),
        ("Electron_mass", 0, 0.001),
        ("Muon_phi", -np.pi, np.pi),
        ("Muon_mass", 0.1, 0.11),
        ("Jet_qgl", -1, 1),
    ):
        counts = ak.num(arrays[branch.split("_")[0] + "_pt"])
        flat = rng.uniform(low, high, ak.sum(counts)).astype(np.float32)
        arrays[branch] = ak.unflatten(flat, counts)
    return arrays


def chunk_of(arrays: Arrays) -> Chunk:
    events = read_columns(arrays)
    return events, read_assignment_columns(arrays, events)


def permutations_by_labels(n_jets: int) -> list[tuple[int, ...]]:
    """Keep a permutation if one with the same jet labels has come before it."""
    seen, kept = [], []
    for w1, w2, b_had, b_lep in itertools.permutations(range(n_jets), 4):
        labels = [100] * n_jets
        labels[w1] = labels[w2] = 24
        labels[b_had], labels[b_lep] = 6, -6
        if labels in seen:
            kept.append((w1, w2, b_had, b_lep))
        seen.append(labels)
    return kept


@dataclass(frozen=True)
class OracleFeatures:
    event: np.ndarray
    n_jets: np.ndarray
    features: np.ndarray
    pt: ak.Array


def oracle_features(arrays: Arrays, variation: str) -> OracleFeatures:
    """Compute the features with awkward and vector, in double precision."""
    vector.register_awkward()
    types = {**BRANCHES, **ASSIGNMENT_BRANCHES}
    columns = {
        name: ak.values_astype(array, np.float64)
        if types[name] is np.float32
        else array
        for name, array in arrays.items()
    }

    def objects(collection: str) -> ak.Array:
        prefix = collection + "_"
        fields = {
            name.removeprefix(prefix): array
            for name, array in columns.items()
            if name.startswith(prefix)
        }
        return ak.zip(fields, with_name="Momentum4D")

    electrons, muons, jets = map(objects, ("Electron", "Muon", "Jet"))
    if variation == "pt_scale_up":
        pt = ak.values_astype(arrays["Jet_pt"] * np.float32(1.03), np.float64)
        jets = ak.with_field(jets, pt, "pt")
    elif variation == "pt_res_up":
        ids = {name: arrays[name] for name in ("run", "luminosityBlock", "event")}
        factors = resolution_factors(ak.zip({"Jet": jets, **ids}, depth_limit=1))
        jets = ak.with_field(jets, jets.pt * factors, "pt")
    electrons = electrons[
        (electrons.pt > 30)
        & (abs(electrons.eta) < 2.1)
        & (electrons.cutBased == 4)
        & (electrons.sip3d < 4)
    ]
    muons = muons[
        (muons.pt > 30)
        & (abs(muons.eta) < 2.1)
        & muons.tightId
        & (muons.sip3d < 4)
        & (muons.pfRelIso04_all < 0.15)
    ]
    jets = jets[(jets.pt > 30) & (abs(jets.eta) < 2.4) & ((jets.jetId & 4) == 4)]
    passes = (
        (ak.num(electrons) + ak.num(muons) == 1)
        & (ak.num(jets) >= 4)
        & (ak.sum(jets.btagCSVV2 > 0.5, axis=1) >= 2)
    )
    four = ["pt", "eta", "phi", "mass"]
    leptons = ak.with_name(
        ak.concatenate([electrons[four], muons[four]], axis=1)[passes], "Momentum4D"
    )[:, 0]
    jets = jets[passes][:, :6]
    tables = {n: list(map(list, permutations_by_labels(n))) for n in (4, 5, 6)}
    chosen = ak.Array([tables[n] for n in ak.num(jets)])
    w1, w2, b_had, b_lep = (jets[chosen[:, :, role]] for role in range(4))

    def distance(one: ak.Array, other: ak.Array) -> ak.Array:
        return np.sqrt((one.eta - other.eta) ** 2 + (one.phi - other.phi) ** 2)

    trijet = w1 + w2 + b_had
    features = [
        distance(leptons, b_lep),
        distance(w1, w2),
        distance(w1, b_had),
        distance(w2, b_had),
        (leptons + b_lep).mass,
        (w1 + w2).mass,
        trijet.mass,
        trijet.pt,
        *(jet.pt for jet in (w1, w2, b_had, b_lep)),
        *(jet.btagCSVV2 for jet in (w1, w2, b_had, b_lep)),
        *(jet.qgl for jet in (w1, w2, b_had, b_lep)),
    ]
    return OracleFeatures(
        np.flatnonzero(passes),
        ak.to_numpy(ak.num(jets)),
        np.stack([ak.to_numpy(ak.flatten(one)) for one in features], axis=1),
        jets.pt,
    )


def all_features(chunk: Chunk, variation: int = 0) -> tuple[Any, np.ndarray]:
    """Return the signal events and the features of all their permutations."""
    signal = signal_events(*chunk, variation, DRAWN)
    n = len(signal.event)
    features, _ = permutation_features(*chunk, variation, DRAWN, signal, 0, n)
    return signal, features


def labels_of(features: np.ndarray) -> np.ndarray:
    """Call a permutation right if its masses and b-tags look like a top quark's."""
    pull = ((features[:, 5] - 80) / 15) ** 2 + ((features[:, 6] - 172) / 20) ** 2
    return (pull + 2 * (features[:, 14] < 0.5) + 2 * (features[:, 15] < 0.5)) < 3


def trained(
    features: np.ndarray, *, rounds: int, depth: int, **parameters: Any
) -> xgboost.Booster:
    """Train a model that is the same every time."""
    data = xgboost.DMatrix(features, labels_of(features), nthread=1)
    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": depth,
        "learning_rate": 0.3,
        "nthread": 1,
        "seed": 1,
        **parameters,
    }
    return xgboost.train(settings, data, rounds)
