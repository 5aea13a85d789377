"""The features' histograms against filling them one variation after the other."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest

import agc.ttbar.ml.jet_assignment
from agc.fast.kernel import FILLED_VARIATIONS
from agc.inputs.variations import KINEMATIC_VARIATIONS
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.jet_assignment import (
    AssignmentModels,
    FeatureSums,
    assignment_models,
    feature_sums,
)
from support.assignment import (
    Arrays,
    all_features,
    chunk_of,
    oracle_features,
    random_arrays,
    trained,
)
from support.histograms import feature_histograms

if TYPE_CHECKING:
    import xgboost


@pytest.fixture(scope="module")
def arrays() -> Arrays:
    return random_arrays(500)


@pytest.fixture(scope="module")
def boosters(arrays: Arrays) -> dict[int, xgboost.Booster]:
    """Return the model for even events and the one for odd events."""
    events, columns = chunk_of(arrays)
    signal, features = all_features((events, columns))
    is_odd = np.repeat(events.event[signal.event] % 2 == 1, np.diff(signal.offsets))
    return {
        0: trained(features[is_odd], rounds=20, depth=4),
        1: trained(features[~is_odd], rounds=20, depth=4),
    }


@pytest.fixture(scope="module")
def models(boosters: dict[int, xgboost.Booster]) -> AssignmentModels:
    return assignment_models(trained_on_even=boosters[1], trained_on_odd=boosters[0])


def assert_identical(one: FeatureSums, other: FeatureSums) -> None:
    np.testing.assert_array_equal(one.sums, other.sums)
    np.testing.assert_array_equal(one.events, other.events)
    np.testing.assert_array_equal(one.ties, other.ties)


def test_the_sums_equal_histograms_filled_variation_by_variation(
    arrays: Arrays, boosters: dict[int, xgboost.Booster], models: AssignmentModels
) -> None:
    chunk = chunk_of(arrays)
    histograms = feature_histograms()
    n_events, n_ties = [], []
    for label in FILLED_VARIATIONS:
        is_weight = label not in KINEMATIC_VARIATIONS
        kinematic = "nominal" if is_weight else label
        signal, features = all_features(chunk, KINEMATIC_VARIATIONS.index(kinematic))
        oracle = oracle_features(arrays, kinematic)
        best, ties = [], 0
        for i, e in enumerate(oracle.event):
            rows = slice(signal.offsets[i], signal.offsets[i + 1])
            booster = boosters[int(arrays["event"][e] % 2)]
            scores = booster.inplace_predict(features[rows], predict_type="margin")
            best.append(features[rows][np.argmax(scores)])
            ties += np.count_nonzero(scores == scores.max()) > 1
        weight = np.ones(len(best))
        if is_weight:
            _, _, jet, direction = label.split("_")
            sign = 1 if direction == "up" else -1
            weight += sign * 0.075 * np.asarray(oracle.pt[:, int(jet)]) / 50
        else:
            n_events.append(len(best))
            n_ties.append(ties)
        for values, histogram in zip(
            np.array(best).T, histograms.values(), strict=True
        ):
            histogram.fill(values, process="ttbar", variation=label, weight=weight)

    got = feature_sums(*chunk, models)
    assert min(n_events) > 20
    assert got.events.tolist() == n_events
    assert got.ties.tolist() == n_ties
    for i, feature in enumerate(FEATURES):
        histogram = histograms[feature.name]
        for j, label in enumerate(FILLED_VARIATIONS):
            expected = histogram[{"process": "ttbar", "variation": label}]
            expected = expected.view(flow=True)
            # weights are rounded to 2**-24 in ours
            tolerance = 0 if label in KINEMATIC_VARIATIONS else 1e-6
            for k, field in enumerate(("value", "variance")):
                np.testing.assert_allclose(
                    got.sums[i, j, :, k],
                    expected[field],
                    rtol=tolerance,
                    atol=tolerance,
                    err_msg=f"{feature.name} {label} {field}",
                )


def test_a_varied_sample_fills_the_first_variation_only(
    arrays: Arrays, models: AssignmentModels
) -> None:
    chunk = chunk_of(arrays)
    every = feature_sums(*chunk, models)
    nominal = feature_sums(*chunk, models, nominal_only=True)
    np.testing.assert_array_equal(nominal.sums[:, 0], every.sums[:, 0])
    assert not nominal.sums[:, 1:].any()
    assert nominal.events.tolist() == [every.events[0], 0, 0]


def test_the_sums_do_not_depend_on_how_events_are_cut(
    arrays: Arrays, models: AssignmentModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = feature_sums(*chunk_of(arrays), models)
    parts = [
        feature_sums(
            *chunk_of({name: array[a:b] for name, array in arrays.items()}), models
        )
        for a, b in ((0, 1), (1, 200), (200, 500))
    ]
    assert_identical(parts[2] + parts[0] + parts[1], whole)
    # no block may be smaller than the 180 permutations of one event
    monkeypatch.setattr(agc.ttbar.ml.jet_assignment, "BLOCK_ROWS", 200)
    assert_identical(feature_sums(*chunk_of(arrays), models), whole)


def test_injected_resolution_factors_are_used(
    arrays: Arrays, models: AssignmentModels
) -> None:
    chunk = chunk_of(arrays)
    ones = np.ones(len(chunk[0].jets.pt))
    sums = feature_sums(*chunk, models, resolution=ones).sums
    np.testing.assert_array_equal(sums[:, 2], sums[:, 0])


def test_no_events_give_empty_sums(arrays: Arrays, models: AssignmentModels) -> None:
    none = {name: array[:0] for name, array in arrays.items()}
    empty = feature_sums(*chunk_of(none), models)
    assert not empty.sums.any()
    whole = feature_sums(*chunk_of(arrays), models)
    assert_identical(empty + whole, whole)


def test_models_and_sums_travel_between_processes(
    arrays: Arrays, models: AssignmentModels
) -> None:
    there = pickle.loads(pickle.dumps(models))  # noqa: S301 - our own
    chunk = chunk_of(arrays)
    back = pickle.loads(pickle.dumps(feature_sums(*chunk, there)))  # noqa: S301 - our own
    assert_identical(back, feature_sums(*chunk, models))
