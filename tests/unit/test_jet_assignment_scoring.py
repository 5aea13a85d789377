"""Scores: the bits of XGBoost's margins, the choice of its probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost

from agc.errors import AnalysisError
from agc.ttbar.ml.jet_assignment import assignment_models, best_rows, permutation_scores
from support.assignment import (
    all_features,
    chunk_of,
    random_arrays,
    standin_arrays,
    trained,
)

Sample = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module", params=["stand-in", "random"])
def sample(request: pytest.FixtureRequest) -> Sample:
    """Return event numbers, jets to permute, offsets and features."""
    is_random = request.param == "random"
    arrays = random_arrays(500) if is_random else standin_arrays(stop=3000)
    events, columns = chunk_of(arrays)
    signal, features = all_features((events, columns))
    return events.event[signal.event], signal.n_jets, signal.offsets, features


def test_an_event_is_scored_by_the_model_trained_on_the_other_parity(
    sample: Sample,
) -> None:
    event, n_jets, offsets, x = sample
    rows_odd = np.repeat(event % 2 == 1, np.diff(offsets))
    even = trained(x[~rows_odd], rounds=10, depth=4)
    odd = trained(x[rows_odd], rounds=10, depth=4)
    models = assignment_models(trained_on_even=even, trained_on_odd=odd)
    scores = permutation_scores(models, event, n_jets, x)
    by_even = even.inplace_predict(x, predict_type="margin")
    by_odd = odd.inplace_predict(x, predict_type="margin")
    assert 0 < rows_odd.sum() < len(rows_odd)
    assert not np.array_equal(by_even, by_odd)
    np.testing.assert_array_equal(scores, np.where(rows_odd, by_even, by_odd))


def test_the_trees_after_the_best_iteration_do_not_count(sample: Sample) -> None:
    event, n_jets, _, x = sample
    booster = trained(x, rounds=10, depth=4)
    booster.set_attr(best_iteration="3")
    models = assignment_models(trained_on_even=booster, trained_on_odd=booster)
    expected = booster.inplace_predict(x, predict_type="margin", iteration_range=(0, 4))
    scores = permutation_scores(models, event, n_jets, x)
    np.testing.assert_array_equal(scores, expected)


def test_runtimes_agree_and_choose_the_same_permutation_but_for_ties(
    sample: Sample,
) -> None:
    event, n_jets, offsets, x = sample
    booster = trained(x, rounds=100, depth=5)
    classifier = xgboost.XGBClassifier(n_jobs=1)
    classifier.load_model(bytearray(booster.save_raw("ubj")))
    probabilities = classifier.predict_proba(x)[:, 1]
    matrix = booster.predict(xgboost.DMatrix(x, nthread=1), output_margin=True)
    models = assignment_models(trained_on_even=booster, trained_on_odd=booster)
    scores = permutation_scores(models, event, n_jets, x)
    np.testing.assert_array_equal(scores, matrix)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-scores.astype(float))), probabilities, rtol=0, atol=1e-6
    )
    rows, ties = best_rows(offsets, scores)
    n_ties = n_different = n_tied_probabilities = 0
    for i, row in enumerate(rows):
        mine = scores[offsets[i] : offsets[i + 1]]
        theirs = probabilities[offsets[i] : offsets[i + 1]]
        assert row - offsets[i] == np.argmax(mine)
        n_ties += np.count_nonzero(mine == mine.max()) > 1
        # rounding a probability to float32 makes ties, never another order
        tied = np.flatnonzero(theirs == theirs.max())
        assert row - offsets[i] in tied
        n_tied_probabilities += len(tied) > 1
        n_different += row - offsets[i] != tied[0]
    assert ties == n_ties
    assert n_different <= n_tied_probabilities
    assert n_tied_probabilities < 0.1 * len(rows)


def test_the_first_of_equal_permutations_is_taken_and_the_tie_counted() -> None:
    scores = np.array([0, 2, 1, 2, 5, 5, 7, 3], np.float32)
    # the first event has a tie; the second's equal scores are not its best
    rows, ties = best_rows(np.array([10, 14, 18]), scores)
    np.testing.assert_array_equal(rows, [1, 6])
    assert ties == 1


@pytest.mark.parametrize(
    ("parameters", "columns", "message"),
    [
        ({"objective": "reg:squarederror"}, 20, "reg:squarederror, gbtree, of 20"),
        ({"booster": "dart"}, 20, "binary:logistic, dart, of 20"),
        ({}, 19, "of 19 features: the jet assignment needs binary:logistic"),
    ],
)
def test_another_kind_of_model_is_refused(
    parameters: dict[str, Any], columns: int, message: str
) -> None:
    rng = np.random.default_rng(1)
    x, y = rng.random((50, columns)), rng.integers(0, 2, 50)
    settings = {"objective": "binary:logistic", "nthread": 1, **parameters}
    booster = xgboost.train(settings, xgboost.DMatrix(x, y, nthread=1), 2)
    models = assignment_models(trained_on_even=booster, trained_on_odd=booster)
    with pytest.raises(AnalysisError, match=message):
        permutation_scores(models, np.array([1]), np.array([4]), x[:12])
