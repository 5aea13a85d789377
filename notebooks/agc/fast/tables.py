"""Events as Arrow tables, for files that are not ROOT's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from agc.fast.columns import BRANCHES, Electrons, Events, Jets, Muons

__all__ = ["events_of", "table_of"]


def table_of(events: Events) -> pa.Table:
    """Return events as a table of NanoAOD's branches, with lists for the objects."""
    by_branch: dict[str, pa.Array] = {}
    for prefix, objects in (
        ("Electron_", events.electrons),
        ("Muon_", events.muons),
        ("Jet_", events.jets),
    ):
        for name, values in zip(_branches(prefix), objects[1:], strict=True):
            by_branch[name] = pa.LargeListArray.from_arrays(objects.offsets, values)
    by_branch["run"] = pa.array(events.run)
    by_branch["luminosityBlock"] = pa.array(events.luminosity_block)
    by_branch["event"] = pa.array(events.event)
    return pa.table(by_branch)


def events_of(table: pa.Table) -> Events:
    """Return the events of a table that `table_of` made as flat, read-only arrays.

    Their types are those of `agc.fast.columns.load_columns`: compiled code is compiled
    once for both.
    """

    def objects(prefix: str) -> Iterator[npt.NDArray[Any]]:
        lists = {name: table[name].combine_chunks() for name in _branches(prefix)}
        first = next(iter(lists.values()))
        yield _numbers(first.offsets, np.int64)
        for name, values in lists.items():
            yield _numbers(values.flatten(), BRANCHES[name])

    def column(name: str) -> npt.NDArray[Any]:
        return _numbers(table[name].combine_chunks(), BRANCHES[name])

    return Events(
        Electrons(*objects("Electron_")),
        Muons(*objects("Muon_")),
        Jets(*objects("Jet_")),
        column("run"),
        column("luminosityBlock"),
        column("event"),
    )


def _branches(prefix: str) -> list[str]:
    """Return a collection's branches, in the order of its fields in `Events`."""
    return [name for name in BRANCHES if name.startswith(prefix)]


def _numbers(values: pa.Array, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Return values as a contiguous read-only array."""
    array = np.ascontiguousarray(values.to_numpy(zero_copy_only=False), dtype).view()
    array.flags.writeable = False
    return array
