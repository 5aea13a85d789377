from __future__ import annotations

import numpy as np
import pytest
from coffea.processor import IterativeExecutor

from agc.errors import MissingBranchError
from agc.inputs.filesets import TREE, standin_fileset
from agc.inputs.rootfiles import load_arrays
from agc.ttbar.ml.assignments import signal_events
from agc.ttbar.ml.training import Hyperparameters, candidates
from agc.ttbar.ml.training_data import TRAINING_DATASET, TrainingData, training_data
from agc.ttbar.ml.truth import (
    TRUTH_BRANCHES,
    TruthColumns,
    jet_labels,
    read_truth_columns,
    true_roles,
)
from agc.ttbar.permutations import permutations_of
from support.assignment import DRAWN, chunk_of, standin_arrays

EXECUTOR = IterativeExecutor(status=False)


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return training_data(standin_fileset(), EXECUTOR)


def oracle_labels(truth: TruthColumns, e: int, jets: list[tuple[float, float]]) -> list:
    """Label an event's jets the obvious way."""
    rows = range(truth.offsets[e], truth.offsets[e + 1])
    first = truth.offsets[e]

    def mother(i: int) -> int:
        code, up = truth.pdg_id[i], truth.mother[i]
        while up >= 0 and truth.pdg_id[first + up] == code:
            up = truth.mother[first + up]
        return int(truth.pdg_id[first + up]) if up >= 0 else 0

    quarks = [
        (i, mother(i))
        for i in rows
        if 0 < abs(truth.pdg_id[i]) <= 5 and truth.status_flags[i] >> 13 & 1
    ]
    hadronic = {6 * np.sign(m) for _, m in quarks if abs(m) == 24}
    names = {}
    for i, m in quarks:
        if abs(m) == 24:
            names[i] = 24
        elif abs(m) == 6:
            names[i] = 6 if m in hadronic else -6
    labels = []
    for eta, phi in jets:
        turn = {i: (phi - truth.phi[i] + np.pi) % (2 * np.pi) - np.pi for i in names}
        far = {i: np.hypot(eta - truth.eta[i], turn[i]) for i in names}
        near = [i for i in sorted(far, key=far.__getitem__) if far[i] < 0.4]
        labels.append(names[near[0]] if near else 0)
    return labels


def test_jets_are_labelled_as_the_obvious_way_labels_them() -> None:
    (path,) = standin_fileset()[TRAINING_DATASET]["files"]
    stop = 3000
    events, columns = chunk_of(standin_arrays(stop=stop))
    arrays, _ = load_arrays(path, TREE, TRUTH_BRANCHES, entry_stop=stop)
    truth = read_truth_columns(arrays)
    signal = signal_events(events, columns, 0, DRAWN)
    found = jet_labels(events, truth, signal)
    assert len(found) > 500
    jets = events.jets
    for s, e in enumerate(signal.event):
        selected = [
            (jets.eta[j], jets.phi[j])
            for j in range(jets.offsets[e], jets.offsets[e + 1])
            if jets.pt[j] > 30 and abs(jets.eta[j]) < 2.4 and jets.jet_id[j] & 4
        ]
        assert found[s].tolist() == oracle_labels(truth, e, selected[:4])


def test_two_jets_of_nothing_do_not_pass_for_the_two_b_jets() -> None:
    labels = [[24, 24, 0, 0], [24, 24, 6, -6], [6, 6, 24, 24], [-6, 24, 6, 24]]
    roles = true_roles(np.array(labels))
    assert roles.tolist() == [[-1] * 4, [1, 0, 2, 3], [-1] * 4, [3, 1, 2, 0]]
    for one in roles[[1, 3]].tolist():
        assert tuple(one) in permutations_of(4)


def test_what_is_learned_from_has_one_right_permutation_of_twelve(
    data: TrainingData,
) -> None:
    assert data.features.shape == (len(data.event), 12, 20)
    assert data.labels.reshape(-1, 12).sum(axis=1).tolist() == [1] * len(data.event)
    # A top quark's three jets have its mass more often than any other three.
    masses = data.features[:, :, 6]
    right = np.take_along_axis(masses, data.right[:, None], axis=1)
    assert abs(np.median(right) - 172.5) < 12
    assert (data.features[:, :, 5] > 0).all()


@pytest.mark.slow
def test_chunks_do_not_matter(data: TrainingData) -> None:
    small = training_data(standin_fileset(), EXECUTOR, chunksize=1500)
    for one, other in zip(data, small, strict=True):
        np.testing.assert_array_equal(one, other)


def test_parities_share_no_event(data: TrainingData) -> None:
    even, odd = data.of_parity(0), data.of_parity(1)
    assert len(even.event) + len(odd.event) == len(data.event)
    assert not (even.event % 2).any()
    assert (odd.event % 2).all()


def test_what_models_are_judged_by_they_have_not_seen(data: TrainingData) -> None:
    learned, untouched = data.split()
    assert not set(learned.event) & set(untouched.event)
    assert set(learned.event) | set(untouched.event) == set(data.event)
    assert len(untouched.event) == pytest.approx(len(data.event) / 3, rel=0.1)
    for part in (learned, untouched):
        assert 0.4 < (part.event % 2).mean() < 0.6
    one = untouched.event[0]
    (place,) = np.flatnonzero(data.event == one)
    np.testing.assert_array_equal(untouched.features[0], data.features[place])
    assert untouched.right[0] == data.right[place]


def test_a_sample_without_truth_says_what_it_lacks() -> None:
    files = standin_fileset()["ttbar__ME_var"]["files"]
    fileset = standin_fileset()
    fileset[TRAINING_DATASET]["files"] = files
    with pytest.raises(MissingBranchError, match="GenPart_pdgId"):
        training_data(fileset, EXECUTOR)


def test_a_longer_search_begins_as_a_shorter_one() -> None:
    assert candidates(12)[:5] == candidates(5)
    assert candidates(1) == [Hyperparameters()]
    assert len(set(candidates(40))) == 40
