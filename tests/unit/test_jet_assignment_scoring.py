"""Scores: the bits of XGBoost's margins, the choice of its probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xgboost

import agc.ttbar.ml.jet_assignment
from agc.errors import AnalysisError
from agc.ttbar.ml.forests import forest_of, score_events, table_bytes
from agc.ttbar.ml.jet_assignment import assignment_models, best_rows, permutation_scores
from agc.ttbar.permutations import FIRST_PERMUTATION
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


def scored(booster: xgboost.Booster, n_jets: np.ndarray, x: np.ndarray) -> np.ndarray:
    counts = np.diff(FIRST_PERMUTATION)[n_jets]
    scores = np.full(len(x), np.nan, np.float32)
    score_events(forest_of(booster), n_jets, np.cumsum(counts) - counts, x, scores)
    return scores


@pytest.mark.parametrize(
    ("rounds", "depth", "parameters"),
    [
        pytest.param(1, 1, {}, id="one stump"),
        pytest.param(100, 5, {}, id="like the AGC's"),
        pytest.param(
            20,
            12,
            {"min_child_weight": 0, "lambda": 0},
            id="more than 64 leaves in a tree",
        ),
        pytest.param(20, 4, {"tree_method": "approx"}, id="other thresholds"),
        pytest.param(5, 4, {"base_score": 0.01}, id="given base score"),
        pytest.param(4, 4, {"num_parallel_tree": 3}, id="boosted random forest"),
    ],
)
def test_masks_give_the_bits_of_xgboost(
    sample: Sample, rounds: int, depth: int, parameters: dict[str, Any]
) -> None:
    _, n_jets, _, x = sample
    booster = trained(x, rounds=rounds, depth=depth, **parameters)
    if depth == 12:
        forest = forest_of(booster)
        assert forest.masks.shape[1] > len(forest.first_word)
    expected = booster.inplace_predict(x, predict_type="margin")
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(scored(booster, n_jets, x), expected)


def test_values_at_a_threshold_beyond_all_and_missing_go_where_xgboost_sends_them(
    sample: Sample,
) -> None:
    _, n_jets, offsets, features = sample
    x = features.copy()
    rng = np.random.default_rng(3)
    x[rng.random(len(x)) < 0.2, 5] = np.nan
    booster = trained(x, rounds=30, depth=5)
    forest = forest_of(booster)
    # every permutation of an event gets the same value: it is not one's of its jets
    for i in range(len(n_jets)):
        rows = slice(offsets[i], offsets[i + 1])
        for column in range(x.shape[1]):
            edges = forest.thresholds[forest.starts[column] : forest.starts[column + 1]]
            values = [np.nan, np.inf, -np.inf, *edges]
            x[rows, column] = rng.choice(np.array(values, np.float32))
    expected = booster.inplace_predict(x, predict_type="margin")
    np.testing.assert_array_equal(scored(booster, n_jets, x), expected)


def test_the_size_of_the_masks_is_known_before_they_are_made(sample: Sample) -> None:
    booster = trained(sample[3], rounds=10, depth=9)
    assert table_bytes(booster) == forest_of(booster).masks.nbytes


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


def test_a_model_too_large_for_masks_is_scored_by_xgboost_with_the_threads_given(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    event, n_jets, _, x = sample
    booster = trained(x, rounds=10, depth=4)
    models = assignment_models(trained_on_even=booster, trained_on_odd=booster)
    by_masks = permutation_scores(models, event, n_jets, x)
    monkeypatch.setattr(agc.ttbar.ml.jet_assignment, "TABLE_LIMIT_BYTES", 0)
    agc.ttbar.ml.jet_assignment._scorer.cache_clear()
    by_xgboost = permutation_scores(models, event, n_jets, x, threads=1)
    scorer = agc.ttbar.ml.jet_assignment._scorer(models.trained_on_even)
    agc.ttbar.ml.jet_assignment._scorer.cache_clear()
    assert isinstance(scorer, xgboost.Booster)
    assert '"nthread":"1"' in scorer.save_config()
    np.testing.assert_array_equal(by_masks, by_xgboost)


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
    with pytest.raises(AnalysisError, match=message):
        forest_of(booster)
