"""Columns of any shape, type and length, given to what reads them before compiled code.

Run as a program, so that memory read beyond an array ends this process and no other.
"""

from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from agc.errors import UnreadableFileError
from agc.fast.columns import BRANCHES, read_columns
from agc.fast.kernel import fill_sums
from agc.fast.preselection import preselected, taken
from agc.fast.tables import events_of, table_of
from agc.hzz.columns import BRANCHES as HZZ_BRANCHES
from agc.hzz.columns import events_of as hzz_events_of
from agc.inputs.columns import flat_columns
from agc.ttbar.ml.assignments import ASSIGNMENT_BRANCHES, read_assignment_columns
from agc.ttbar.ml.truth import TRUTH_BRANCHES, quark_labels, read_truth_columns
from support.nanoaod import random_events

N_EVENTS = 12
_COUNTS = np.arange(N_EVENTS) % 7
#: What each task reads.
TASKS = {
    "ttbar": dict(BRANCHES),
    "assignment": dict(BRANCHES) | dict(ASSIGNMENT_BRANCHES),
    "truth": dict(TRUTH_BRANCHES),
    "hzz": dict(HZZ_BRANCHES),
}
_TYPES = ("bool", "uint8", "int16", "int64", "uint32", "uint64", "float32", "float64")


def usual(task: str) -> dict[str, ak.Array]:
    """Return columns as they should be."""
    columns: dict[str, ak.Array] = {}
    events = random_events(N_EVENTS)
    for name, dtype in TASKS[task].items():
        collection, _, field = name.partition("_")
        if name in BRANCHES:
            column = events[collection, field] if field else events[name]
        elif task == "hzz":
            ones = np.full(_COUNTS.sum(), 2e4 if field in {"pt", "E"} else 0, dtype)
            is_list = collection == "lep"
            column = ak.unflatten(ones, _COUNTS) if is_list else np.ones(N_EVENTS)
        else:
            counts = ak.num(events[collection]) if task == "assignment" else _COUNTS
            flat = np.zeros(int(np.sum(counts)), dtype)
            column = ak.unflatten(flat - (field == "genPartIdxMother"), counts)
        columns[name] = ak.Array(column)
    return columns


@st.composite
def changed(  # noqa: C901 - one branch for each kind of column
    draw: st.DrawFn,
) -> tuple[str, dict[str, ak.Array]]:
    """Return a task and its columns, one of which is something else."""
    task = draw(st.sampled_from(sorted(TASKS)))
    columns = usual(task)
    name = draw(st.sampled_from(sorted(columns)))
    column = columns[name]
    n = draw(st.sampled_from([0, 1, N_EVENTS - 1, N_EVENTS, N_EVENTS, N_EVENTS + 1]))
    usual_type = np.dtype(TASKS[task][name]).name
    dtype = draw(st.just(usual_type) | st.sampled_from(_TYPES))
    numbers = st.integers(0, 1) if dtype == "bool" else st.sampled_from([0, 1, 5, 77])
    if dtype[0] in "if":
        numbers |= st.sampled_from([-1, -2, 99])
    if dtype[0] == "f":
        numbers |= st.sampled_from([np.nan, np.inf, 1e30])
    if dtype in {"int64", "uint64"}:
        numbers |= st.just(2**62)

    def values(size: int) -> np.ndarray:
        drawn = draw(st.lists(numbers, min_size=size, max_size=size))
        return np.array(drawn, dtype)

    kind = draw(
        st.sampled_from(
            [
                *("same", "same", "same", "same", "values", "values", "lists", "lists"),
                *("nested", "text", "missing", "fixed", "records"),
            ]
        )
    )
    if kind == "values":
        new = ak.Array(values(n))
    elif kind == "lists":
        counts = draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
        new = ak.unflatten(values(sum(counts)), np.array(counts, np.int64))
    elif kind == "same":  # shaped as it should be, other values
        is_list = column.ndim > 1
        counts = ak.num(column) if is_list else np.ones(len(column), np.int64)
        new = ak.Array(values(int(ak.sum(counts))))
        new = ak.unflatten(new, counts) if is_list else new
    elif kind == "nested":
        new = ak.Array([[one] if column.ndim > 1 else [[one]] for one in column])
    elif kind == "text":
        new = ak.Array(["1"] * n)
    elif kind == "missing":
        new = ak.mask(column, np.arange(len(column)) % 2 == 0)
    elif kind == "fixed":
        new = ak.Array(values(2 * N_EVENTS).reshape(N_EVENTS, 2))
    else:
        new = ak.Array([{"pt": 1.0}] * n)
    return task, columns | {name: new}


def read(task: str, columns: dict[str, ak.Array]) -> None:
    """Read columns as a task does, and run its compiled code on them."""
    values, offsets = flat_columns(columns, TASKS[task])
    for name, dtype in TASKS[task].items():
        starts = offsets.get(name.split("_")[0])
        counts = None if starts is None else np.diff(starts)
        one = values[name] if counts is None else ak.unflatten(values[name], counts)
        wanted = ak.values_astype(ak.from_regular(columns[name], axis=None), dtype)
        assert ak.to_list(ak.nan_to_num(one)) == ak.to_list(ak.nan_to_num(wanted)), name
    if task == "hzz":
        hzz_events_of(columns)
        return
    if task == "truth":
        truth = read_truth_columns(columns)
        for e in range(len(truth.offsets) - 1):
            quark_labels(truth, e, np.zeros(truth.offsets[e + 1], np.int64))
        return
    events = read_columns(columns)
    if task == "assignment":
        read_assignment_columns(columns, events)
    sums = fill_sums(events, np.empty(0), False)  # noqa: FBT003 - compiled code's
    skim = events_of(table_of(taken(events, preselected(events))))
    for same in (events, skim):
        np.testing.assert_array_equal(sums, fill_sums(same, np.empty(0), False))  # noqa: FBT003


#: How often which of the two happened.
outcomes = {"right": 0, "refused": 0}


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(changed())
def only_right_results_or_the_one_error(found: tuple[str, dict[str, Any]]) -> None:
    """Everything that is not read as it is, is refused by name."""
    try:
        read(*found)
    except UnreadableFileError as error:
        outcomes["refused"] += 1
        if "branch" not in str(error):
            raise
    except Exception as error:  # the class decides: another is the fault looked for
        if "ImplausibleUnits" not in type(error).__name__:
            raise
        outcomes["refused"] += 1
    else:
        outcomes["right"] += 1


if __name__ == "__main__":
    for its_task in TASKS:
        read(its_task, usual(its_task))
    only_right_results_or_the_one_error()
    print(outcomes)  # noqa: T201 - the program's answer
