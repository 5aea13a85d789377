"""Permutations, features and their histograms against obvious versions of them."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest

from agc.errors import UnreadableFileError
from agc.fast.columns import read_columns
from agc.inputs.variations import KINEMATIC_VARIATIONS
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.assignments import AssignmentColumns, read_assignment_columns
from agc.ttbar.permutations import (
    FIRST_PERMUTATION,
    PERMUTATIONS,
    ROLES,
    permutations_of,
)
from support.assignment import (
    Arrays,
    all_features,
    chunk_of,
    oracle_features,
    permutations_by_labels,
    random_arrays,
    standin_arrays,
)
from support.histograms import empty_histograms, feature_histograms


@pytest.mark.parametrize(("n_jets", "expected"), [(4, 12), (5, 60), (6, 180)])
def test_of_each_pair_of_w_jets_the_later_order_is_kept(
    n_jets: int, expected: int
) -> None:
    permutations = permutations_of(n_jets)
    assert len(permutations) == expected
    assert permutations == permutations_by_labels(n_jets)


def test_the_table_holds_the_permutations_of_each_number_of_jets() -> None:
    for n_jets in (4, 5, 6):
        rows = slice(FIRST_PERMUTATION[n_jets], FIRST_PERMUTATION[n_jets + 1])
        assert list(map(tuple, PERMUTATIONS[rows])) == permutations_of(n_jets)
    assert len(PERMUTATIONS) == FIRST_PERMUTATION[-1] == 252


@pytest.fixture(scope="module", params=["stand-in", "random", "crowded"])
def arrays(request: pytest.FixtureRequest) -> Arrays:
    if request.param == "stand-in":
        return standin_arrays(stop=2000)
    return random_arrays(400, max_jets=30 if request.param == "crowded" else 9)


@pytest.mark.parametrize("variation", KINEMATIC_VARIATIONS)
def test_features_equal_the_oracle_to_float32(arrays: Arrays, variation: str) -> None:
    signal, features = all_features(
        chunk_of(arrays), KINEMATIC_VARIATIONS.index(variation)
    )
    oracle = oracle_features(arrays, variation)
    assert len(signal.event) > 20
    np.testing.assert_array_equal(signal.event, oracle.event)
    np.testing.assert_array_equal(signal.n_jets, oracle.n_jets)
    assert features.dtype == np.float32
    for i, feature in enumerate(FEATURES):
        # a mass is a difference of squares: its last digits depend on the order
        np.testing.assert_allclose(
            features[:, i],
            oracle.features[:, i],
            rtol=2e-7,
            atol=1e-5 if feature.name.startswith("mass") else 0,
            err_msg=feature.name,
        )


def test_the_features_are_of_events_with_every_number_of_jets_and_lepton() -> None:
    arrays = random_arrays(400)
    signal, _ = all_features(chunk_of(arrays))
    assert set(signal.n_jets) == {4, 5, 6}
    # some pass with an electron only, some with a muon only
    n_electrons = ak.num(arrays["Electron_pt"])[signal.event]
    n_muons = ak.num(arrays["Muon_pt"])[signal.event]
    assert ak.any(n_electrons == 0)
    assert ak.any(n_muons == 0)


def test_delta_r_is_not_wrapped_in_phi() -> None:
    _, features = all_features(chunk_of(random_arrays(400)))
    largest_wrapped = np.hypot(2 * 2.4, np.pi)
    assert features[:, :4].max() > largest_wrapped


def test_a_feature_depends_on_its_roles_only() -> None:
    signal, features = all_features(chunk_of(random_arrays(200)))
    for s, n_jets in enumerate(signal.n_jets):
        rows = features[signal.offsets[s] : signal.offsets[s + 1]]
        permutations = np.array(permutations_of(n_jets))
        for i, feature in enumerate(FEATURES):
            jets = permutations[:, [ROLES.index(role) for role in feature.roles]]
            values: dict[tuple[int, ...], set[float]] = {}
            for key, value in zip(map(tuple, jets), rows[:, i], strict=True):
                values.setdefault(key, set()).add(float(value))
            assert all(len(same) == 1 for same in values.values()), feature.name
            assert len(set.union(*values.values())) > 1, feature.name


def test_ranges_and_order_are_the_reference_implementations() -> None:
    ranges = [(f.low, f.high) for f in FEATURES]
    assert ranges == (
        [(0, 6)] * 4
        + [(50, 300)] * 2
        + [(50, 550)] * 2
        + [(25, 300)] * 4
        + [(0, 1)] * 4
        + [(-1, 1)] * 4
    )
    kinds = ["deltar"] * 4 + ["mass"] * 3 + ["pt"] * 5 + ["btag"] * 4 + ["qgl"] * 4
    assert [f.name.split("_")[0] for f in FEATURES] == kinds


def test_feature_histograms_have_the_main_histograms_categories() -> None:
    histograms = feature_histograms()
    assert list(histograms) == [feature.name for feature in FEATURES]
    main = empty_histograms()["4j2b"]
    for feature, histogram in zip(FEATURES, histograms.values(), strict=True):
        assert histogram.axes[1:] == main.axes[1:]
        assert histogram.axes[0].size == 25
        edges = histogram.axes[0].edges
        assert (edges[0], edges[-1]) == (feature.low, feature.high)
        assert histogram.sum(flow=True).value == 0


def test_columns_with_other_list_lengths_are_refused() -> None:
    arrays = random_arrays(20)
    events = read_columns(arrays)
    assert isinstance(read_assignment_columns(arrays, events), AssignmentColumns)
    arrays["Jet_qgl"] = arrays["Jet_qgl"][:, 1:]
    with pytest.raises(UnreadableFileError, match=r"Jet_\* have lists of different"):
        read_assignment_columns(arrays, events)
