"""Columns of a file as flat arrays with offsets, each checked for what it is to be.

Compiled code trusts the arrays that it is given: one that is too short is read beyond
its end. So no column goes further than here that has not the role, the type and the
length that its name stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from agc.errors import UnreadableFileError

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["BoolArray", "FloatArray", "IntArray", "flat_columns"]

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
BoolArray: TypeAlias = npt.NDArray[np.bool_]

#: What a column holds by the part of its name before the first underscore; in other
#: columns whatever their file says, the same for all of a collection.
_LISTS = frozenset({"Electron", "Muon", "Jet", "GenPart", "lep"})
_VALUES = frozenset({"run", "luminosityBlock", "event", "mcWeight", "scaleFactor"})
#: Characters of a type that an error shows.
_SHOWN = 60


def flat_columns(
    arrays: Mapping[str, ak.Array],
    branches: Mapping[str, npt.DTypeLike | None],
    *,
    file: str = "the events",
) -> tuple[dict[str, Any], dict[str, IntArray]]:
    """Return flat values by branch and offsets by collection; shapes as in the file.

    Of each branch there is a value per event or a list per event; ``branches`` are
    those wanted with their types (None: as it is), and ``file`` says in messages where
    they come from. Values are read-only, shape (events,) or (objects,); offsets are
    where each event's objects begin, shape (events + 1,), int64.

    Raises
    ------
    UnreadableFileError
        A branch holds something else than wanted: text, lists of lists, missing values,
        one value per event where a list is expected, numbers that the type cannot hold;
        or another number of events or objects than the others.
    """
    columns: dict[str, Any] = {}
    offsets: dict[str, IntArray] = {}
    lists = dict.fromkeys(_LISTS, True) | dict.fromkeys(_VALUES, False)
    n_events = len(arrays[next(iter(branches))]) if branches else 0
    for name, wanted in branches.items():
        column, collection = arrays[name], name.split("_")[0]
        dtype = None if wanted is None else np.dtype(wanted)
        if len(column) != n_events:
            cause = f"branch {name} has {len(column)} events, others {n_events}"
            raise UnreadableFileError(file, cause)
        flat = _flat(column, dtype)
        if flat is None:
            raise _not_as_wanted(name, column, dtype, file, lists.get(collection))
        starts, values = flat
        if starts is None and lists.get(collection) and not n_events:
            starts = np.zeros(1, np.int64)  # no event, no type: as good as empty lists
        if (starts is not None) != lists.setdefault(collection, starts is not None):
            raise _not_as_wanted(name, column, dtype, file, lists[collection])
        columns[name] = _frozen(_converted(name, values, dtype, file), dtype)
        if starts is None:
            continue
        if not np.array_equal(offsets.setdefault(collection, starts), starts):
            cause = f"branch {name} has other list lengths than its collection"
            raise UnreadableFileError(file, cause)
    return columns, {name: _frozen(o, np.int64) for name, o in offsets.items()}


def _flat(
    column: ak.Array, dtype: np.dtype[Any] | None
) -> tuple[IntArray | None, npt.NDArray[Any]] | None:
    """Return list offsets starting at 0 (None for one value per event) and values.

    Nothing is returned of a column that is neither: text, lists of lists, records.
    """
    import awkward as ak

    layout = ak.materialize(column).layout
    if isinstance(layout, ak.contents.NumpyArray):
        simple = layout.purelist_depth == 1
    else:
        simple = isinstance(layout, ak.contents.ListOffsetArray) and (
            not layout.offsets[0]
        )
    if not simple:
        layout = ak.to_packed(ak.from_regular(column, axis=None), highlevel=False)
    starts, content = None, layout
    if layout.is_list and layout.parameter("__array__") is None:
        starts, content = np.asarray(layout.offsets.data), layout.content
        content = content[: int(starts[-1])]
    if isinstance(content, ak.contents.EmptyArray):
        return starts, np.empty(0, dtype)
    if not (
        isinstance(content, ak.contents.NumpyArray)
        and content.purelist_depth == 1
        and content.parameter("__array__") is None
    ):
        return None
    return starts, ak.to_numpy(content)


def _converted(
    name: str, values: npt.NDArray[Any], dtype: np.dtype[Any] | None, file: str
) -> npt.NDArray[Any]:
    """Return values of the type wanted, or say which of them it cannot hold.

    Integers may become floats, and other integers that hold them; flags may be written
    as the integers 0 and 1. Nothing else changes its kind.
    """
    if dtype is None or values.dtype == dtype:
        return values
    kinds = {"f": "fiu", "i": "iu", "u": "iu", "b": "biu"}
    if values.dtype.kind not in kinds.get(dtype.kind, ""):
        cause = f"branch {name} holds {values.dtype.name}, wanted is {dtype.name}"
        raise UnreadableFileError(file, cause)
    if dtype.kind == "f":
        return values
    low, high = (0, 1)
    if dtype.kind != "b":
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    bad = (values < low) | (values > high)
    if bad.any():
        cause = f"branch {name} holds {values[bad][0]}, which no {dtype.name} can be"
        raise UnreadableFileError(file, cause)
    return values


def _not_as_wanted(
    name: str,
    column: ak.Array,
    dtype: np.dtype[Any] | None,
    file: str,
    is_list: bool | None,  # noqa: FBT001 - what a list of such columns says
) -> UnreadableFileError:
    """Return the error that names what was found and what was wanted."""
    import awkward as ak

    found = str(ak.type(column).content)
    if len(found) > _SHOWN:
        found = f"{found[:_SHOWN]}…"
    wanted = "numbers" if dtype is None else dtype.name
    if is_list is not None:
        of_event = f"var * {wanted} (a list" if is_list else f"{wanted} (one value"
        wanted = f"{of_event} per event)"
    return UnreadableFileError(file, f"branch {name} holds {found}, wanted is {wanted}")


def _frozen(values: npt.NDArray[Any], dtype: npt.DTypeLike | None) -> npt.NDArray[Any]:
    """Return a contiguous read-only view or copy: one array type for the compiler."""
    array = np.ascontiguousarray(values, dtype=dtype).view()
    array.flags.writeable = False
    return array
