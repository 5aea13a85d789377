"""Boosted decision trees as bit masks: a fast, exact score for every permutation.

Notes
-----
A tree's leaves are numbered from left to right, one bit each. Every node that sends a
value to the right rules out the leaves on its left; of the leaves that no node rules
out, the leftmost is the one that walking down the tree would reach (QuickScorer:
Lucchese et al., SIGIR 2015, doi:10.1145/2766462.2767733). What a value rules out does
not depend on the other features, so it is tabulated for every interval between two
thresholds, for all trees at once.

For jet assignment this pays twice. Permutations of one event share most values: what
depends on the same jets is looked up and combined once. And what is left to do for
one permutation and tree is one AND, one bit scan and one addition, with no branch to
predict. Leaf values are added in the order and precision of XGBoost's own predictor:
the margins are the same, bit for bit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros

from agc.compiled import compiled
from agc.errors import AnalysisError
from agc.ttbar.features import FEATURES
from agc.ttbar.permutations import FIRST_PERMUTATION, PERMUTATIONS, ROLES

if TYPE_CHECKING:
    import xgboost

    from agc.inputs.columns import FloatArray, IntArray

__all__ = ["Forest", "forest_of", "score_events", "table_bytes"]

_WORD_BITS = 64
_ALL_LEAVES = np.uint64(2**64 - 1)
# Unsigned, so that an index needs no check for counting from the end.
_ONE, _BITS = np.uint64(1), np.uint64(_WORD_BITS)
_first_bit: Any = trailing_zeros  # numba gives it no type


def _columns(*roles: set[str]) -> tuple[int, ...]:
    return tuple(i for i, f in enumerate(FEATURES) if set(f.roles) in roles)


# Features by what must change for them to change: the tables are read that rarely.
_OF_W1 = _columns({"w1"})
_OF_PAIR = _columns({"w2"}, {"w1", "w2"})
_OF_B_HAD = _columns({"b_had"})
_OF_TRIJET = _columns({"w1", "b_had"}, {"w2", "b_had"}, {"w1", "w2", "b_had"})
_OF_B_LEP = _columns({"b_lep"})


class Forest(NamedTuple):
    """The trees of one model, compiled to masks."""

    thresholds: FloatArray
    """All distinct thresholds by feature, ascending; float32."""
    starts: IntArray
    """Where each feature's thresholds begin, and their end; shape (features + 1,)."""
    masks: IntArray
    """Leaves not ruled out, shape (rows, words), uint64. A feature with ``n``
    thresholds has ``n + 2`` rows: below the first, ..., above the last, missing."""
    first_word: IntArray
    """Each tree's first word in a row of masks; uint64, shape (trees,)."""
    leaves: FloatArray
    """Leaf values by word and bit; float32, shape (words * 64,)."""
    base_margin: np.float32
    """What every margin starts from."""


def table_bytes(booster: xgboost.Booster) -> int:
    """Return the size of the masks that `forest_of` would make of a model."""
    splits, leaves = set(), []
    for tree in _model(booster)["gradient_booster"]["model"]["trees"]:
        is_split = np.array(tree["left_children"]) != -1
        leaves.append(int((~is_split).sum()))
        splits |= set(
            zip(
                np.array(tree["split_indices"])[is_split].tolist(),
                np.array(tree["split_conditions"])[is_split].tolist(),
                strict=True,
            )
        )
    words = sum(math.ceil(n / _WORD_BITS) for n in leaves)
    return 8 * words * (len(splits) + 2 * len(FEATURES))


def forest_of(booster: xgboost.Booster) -> Forest:
    """Compile a binary classifier's trees.

    Parameters
    ----------
    booster
        A ``binary:logistic`` model of the columns `agc.ttbar.features.FEATURES`. Where
        training stopped early, slice it to its best iteration first.

    Returns
    -------
    Forest
        For `score_events`.

    Raises
    ------
    AnalysisError
        It is another kind of model, or one of other features.
    """
    learner = _model(booster)
    parameters = learner["learner_model_param"]
    objective, kind = learner["objective"]["name"], learner["gradient_booster"]["name"]
    n_features = int(parameters["num_feature"])
    trees = learner["gradient_booster"].get("model", {}).get("trees", [])
    categorical = any(any(tree["split_type"]) for tree in trees)
    found = (objective, kind, n_features, categorical)
    if found != ("binary:logistic", "gbtree", len(FEATURES), False):
        msg = (
            f"this model is {objective}, {kind}, of {n_features} features"
            f"{', some categorical' if categorical else ''}: the jet assignment needs "
            f"binary:logistic, gbtree, of {len(FEATURES)} numbers (agc.ttbar.features)"
        )
        raise AnalysisError(msg)
    probability = np.float32(float(parameters["base_score"].strip("[]")))
    odds_against = np.float32(1) / probability - np.float32(1)
    # the C library's logarithm, as XGBoost's: numpy's differs in the last bit
    return _compiled(trees, np.float32(-math.log(odds_against)))


def _model(booster: xgboost.Booster) -> dict[str, Any]:
    """Return a model's own description of its trees."""
    learner: dict[str, Any] = json.loads(booster.save_raw("json"))["learner"]
    return learner


class _Split(NamedTuple):
    """A node, and the leaves that it rules out when it sends a value to the right."""

    feature: int
    threshold: np.float32
    missing_goes_right: bool
    first_leaf: int
    end_leaf: int


def _splits_and_leaves(tree: dict[str, Any]) -> tuple[list[_Split], list[float]]:
    """Return a tree's nodes, and its leaf values from left to right."""
    splits: list[_Split] = []
    leaves: list[float] = []

    def visit(node: int) -> None:
        if tree["left_children"][node] == -1:
            leaves.append(tree["split_conditions"][node])
            return
        first_leaf = len(leaves)
        visit(tree["left_children"][node])
        splits.append(
            _Split(
                tree["split_indices"][node],
                np.float32(tree["split_conditions"][node]),
                not tree["default_left"][node],
                first_leaf,
                len(leaves),
            )
        )
        visit(tree["right_children"][node])

    visit(0)
    return splits, leaves


def _words(split: _Split, first_word: int) -> Iterator[tuple[int, np.uint64]]:
    """Yield the words that hold the leaves a node rules out, and those that stay."""
    for word in range(
        split.first_leaf // _WORD_BITS, math.ceil(split.end_leaf / _WORD_BITS)
    ):
        low = max(split.first_leaf - word * _WORD_BITS, 0)
        high = min(split.end_leaf - word * _WORD_BITS, _WORD_BITS)
        yield first_word + word, _ALL_LEAVES ^ np.uint64((1 << high) - (1 << low))


def _compiled(trees: list[dict[str, Any]], base_margin: np.float32) -> Forest:
    """Tabulate the leaves that remain, for every feature and interval of its values."""
    parsed = [_splits_and_leaves(tree) for tree in trees]
    n_words = [math.ceil(len(leaves) / _WORD_BITS) for _, leaves in parsed]
    first_word = np.concatenate([[0], np.cumsum(n_words)])
    values = np.zeros(first_word[-1] * _WORD_BITS, np.float32)
    for (_, leaves), word in zip(parsed, first_word, strict=False):
        values[word * _WORD_BITS :][: len(leaves)] = leaves
    tables, thresholds = [], []
    for feature in range(len(FEATURES)):
        nodes = [
            (split, *changed)
            for (splits, _), word in zip(parsed, first_word, strict=False)
            for split in splits
            if split.feature == feature
            for changed in _words(split, word)
        ]
        edges = np.unique(np.array([node[0].threshold for node in nodes], np.float32))
        table = np.full((len(edges) + 2, first_word[-1]), _ALL_LEAVES)
        for split, word, stays in nodes:
            table[1 + np.searchsorted(edges, split.threshold), word] &= stays
        np.bitwise_and.accumulate(table[:-1], axis=0, out=table[:-1])
        table[-1] = _ALL_LEAVES
        for split, word, stays in nodes:
            if split.missing_goes_right:
                table[-1, word] &= stays
        tables.append(table)
        thresholds.append(edges)
    return Forest(
        np.concatenate(thresholds),
        np.cumsum([0, *map(len, thresholds)]),
        np.concatenate(tables),
        first_word[:-1].astype(np.uint64),
        values,
        base_margin,
    )


@compiled
def row_of(forest: Forest, feature: int, value: float) -> int:
    """Return the row of masks for a feature's value."""
    low, end = forest.starts[feature], forest.starts[feature + 1]
    if math.isnan(value):
        return int(end) + 2 * feature + 1
    high = end
    while low < high:
        middle = (low + high) // 2
        if value >= forest.thresholds[middle]:
            low = middle + 1
        else:
            high = middle
    return int(low) + 2 * feature


@compiled
def rule_out(
    forest: Forest, columns: tuple[int, ...], permutation: FloatArray, masks: IntArray
) -> None:
    """Remove the leaves that some features of a permutation rule out."""
    for feature in columns:
        row = forest.masks[row_of(forest, feature, permutation[feature])]
        for word in range(len(masks)):
            masks[word] &= row[word]


@compiled
def both(one: IntArray, other: IntArray, result: IntArray) -> None:
    """Write the leaves that remain of both masks."""
    for word in range(len(result)):
        result[word] = one[word] & other[word]


@compiled
def leaf_value(forest: Forest, tree: int, masks: IntArray) -> np.float32:
    """Return the value of a tree's leftmost remaining leaf."""
    word = forest.first_word[tree]
    while masks[word] == 0:
        word += _ONE
    value: np.float32 = forest.leaves[word * _BITS + _first_bit(masks[word])]
    return value


@compiled
def add_leaves(forest: Forest, masks: IntArray, scores: FloatArray) -> None:
    """Score three permutations by their masks; shapes (3, words) and (3,).

    Three sums at a time hide how long one addition takes. The number of permutations
    is a multiple of three for any number of jets.
    """
    first, second, third = masks[0], masks[1], masks[2]
    sums = (forest.base_margin, forest.base_margin, forest.base_margin)
    for tree in range(np.uint64(len(forest.first_word))):
        sums = (
            sums[0] + leaf_value(forest, tree, first),
            sums[1] + leaf_value(forest, tree, second),
            sums[2] + leaf_value(forest, tree, third),
        )
    scores[0], scores[1], scores[2] = sums


@compiled
def score_permutations(
    forest: Forest, n_jets: int, features: FloatArray, scores: FloatArray
) -> None:
    """Score all permutations of one event; see `score_events`."""
    first, end = FIRST_PERMUTATION[n_jets], FIRST_PERMUTATION[n_jets + 1]
    permutations = PERMUTATIONS[first:end]
    n_words = forest.masks.shape[1]
    b_had = np.full((n_jets, n_words), _ALL_LEAVES)
    b_lep = np.full((n_jets, n_words), _ALL_LEAVES)
    known = np.zeros((n_jets, 2), np.bool_)
    for i in range(len(permutations)):
        had, lep = permutations[i, 2], permutations[i, 3]
        if not known[had, 0]:
            rule_out(forest, _OF_B_HAD, features[i], b_had[had])
            known[had, 0] = True
        if not known[lep, 1]:
            rule_out(forest, _OF_B_LEP, features[i], b_lep[lep])
            known[lep, 1] = True
    w1 = np.empty(n_words, np.uint64)
    pair = np.empty(n_words, np.uint64)
    hadronic = np.empty(n_words, np.uint64)
    remain = np.empty((3, n_words), np.uint64)
    before = np.full(len(ROLES), -1, np.int64)
    for i in range(len(permutations)):
        now = permutations[i]
        new_w1 = now[0] != before[0]
        new_pair = new_w1 or now[1] != before[1]
        if new_w1:
            w1[:] = _ALL_LEAVES
            rule_out(forest, _OF_W1, features[i], w1)
        if new_pair:
            pair[:] = w1
            rule_out(forest, _OF_PAIR, features[i], pair)
        if new_pair or now[2] != before[2]:
            both(pair, b_had[now[2]], hadronic)
            rule_out(forest, _OF_TRIJET, features[i], hadronic)
        both(hadronic, b_lep[now[3]], remain[i % 3])
        if i % 3 == 2:  # noqa: PLR2004 - the last of three
            add_leaves(forest, remain, scores[i - 2 : i + 1])
        before = now


@compiled
def score_events(
    forest: Forest,
    n_jets: IntArray,
    first: IntArray,
    features: FloatArray,
    scores: FloatArray,
) -> None:
    """Score all permutations of some events.

    Parameters
    ----------
    forest
        The model, from `forest_of`.
    n_jets
        Jets that are permuted in each event, 4 to 6; shape (events,).
    first
        The row of each event's first permutation; shape (events,).
    features
        A row for each permutation, an event's in the order of `agc.ttbar.permutations`;
        float32, shape (permutations, 20).
    scores
        Receives XGBoost's margins in the events' rows: log-odds, float32, shape
        (permutations,).
    """
    for i in range(len(n_jets)):
        n = n_jets[i]
        end = first[i] + FIRST_PERMUTATION[n + 1] - FIRST_PERMUTATION[n]
        rows = slice(first[i], end)
        score_permutations(forest, n, features[rows], scores[rows])
