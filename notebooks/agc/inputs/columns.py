"""Columns of a file as flat arrays with offsets."""

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


def flat_columns(
    arrays: Mapping[str, ak.Array],
    branches: Mapping[str, npt.DTypeLike],
    *,
    file: str = "the events",
) -> tuple[dict[str, Any], dict[str, IntArray]]:
    """Return flat values by branch and offsets by collection; shapes as in the file."""
    columns: dict[str, Any] = {}
    offsets: dict[str, IntArray] = {}
    for name, dtype in branches.items():
        starts, values = _flat(arrays[name])
        columns[name] = _frozen(values, dtype)
        collection = name.split("_")[0]
        if starts is None:
            continue
        if not np.array_equal(offsets.setdefault(collection, starts), starts):
            cause = f"branch {name} has other list lengths than its collection"
            raise UnreadableFileError(file, cause)
    return columns, {name: _frozen(o, np.int64) for name, o in offsets.items()}


def _flat(column: ak.Array) -> tuple[IntArray | None, npt.NDArray[Any]]:
    """Return list offsets starting at 0 (None for one value per event) and values."""
    import awkward as ak

    layout = ak.materialize(column).layout
    flat = isinstance(layout, ak.contents.NumpyArray) or (
        isinstance(layout, ak.contents.ListOffsetArray) and layout.offsets[0] == 0
    )
    if not flat:
        layout = ak.to_packed(layout, highlevel=False)
    if not layout.is_list:
        return None, ak.to_numpy(layout)
    return np.asarray(layout.offsets.data), ak.to_numpy(layout.content)


def _frozen(values: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return a contiguous read-only view or copy: one array type for the compiler."""
    array = np.ascontiguousarray(values, dtype=dtype).view()
    array.flags.writeable = False
    return array
