"""Columns of events, and ROOT files of them that always are the same, byte for byte.

Columns are plain arrays: one value per event, or, for the columns of a collection, the
values of all events one after the other, with the counts in a column of their own.
"""

from __future__ import annotations

import hashlib
import io
import struct
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import awkward as ak
    from numpy.typing import NDArray

__all__ = [
    "MINI",
    "NANOAOD",
    "Collection",
    "Columns",
    "Layout",
    "collection_columns",
    "concatenated",
    "content_digest",
    "read_columns",
    "root_bytes",
    "rounded",
]

#: Columns by branch name.
Columns: TypeAlias = "dict[str, NDArray[np.generic]]"

#: Bits of the mantissa that are kept, fewer than NanoAOD has (10 for momenta, 12 for
#: angles): a jet's pt is known to 10 %, its direction to 0.02. What the analysis cannot
#: resolve would be most of a file's bytes.
_DEFAULT_BITS = 8
_BITS = {
    "eta": 9,
    "phi": 9,
    "mass": 6,
    "btagCSVV2": 7,
    "qgl": 5,
    "sip3d": 5,
    "pfRelIso04_all": 5,
}
_BITS_OF_TRUTH = 7
_FLOAT32_MANTISSA = 23

#: 1 January 1995, 00:00:00, as ROOT packs it: the first time it can express.
_NO_TIME = struct.pack(">I", (1 << 22) | (1 << 17))
#: Where a key has its time, and where a directory has its two; ROOT's TKey and
#: TDirectory on disk.
_TIME_IN_KEY, _TIMES_IN_DIRECTORY = 10, (2, 6)
#: The number of keys in front of the keys of a list.
_KEY_COUNT = struct.calcsize(">i")


@dataclass(frozen=True)
class Layout:
    """How an experiment names things in its files."""

    tree: str
    """The tree's name."""

    experiment: str
    """Whose files look like this."""

    counter: str
    """The name of a collection's counts, with ``{}`` for the collection."""

    @property
    def label(self) -> str:
        """What every plot and table of the events must say; the tree's title, too."""
        return (
            "Simulated by the Casa project with Pythia 8 and a parametric detector; "
            f"not {self.experiment} data, not {self.experiment} simulation"
        )


#: CMS's NanoAOD, and ATLAS Open Data of 2016.
NANOAOD = Layout("Events", "CMS", "n{}")
MINI = Layout("mini", "ATLAS", "{}_n")


@dataclass(frozen=True)
class Collection:
    """The objects of one kind in a batch, ordered by event."""

    event: NDArray[np.int64]
    """The event's number in the batch."""

    columns: Columns
    """NanoAOD columns without the collection's name; momenta in GeV."""

    counted: NDArray[np.bool_]
    """Which of them the skim counts."""

    def taken(self, rows: NDArray[np.int64]) -> Collection:
        """Return some of them, in this order."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Collection(self.event[rows], columns, self.counted[rows])


def rounded(values: NDArray[np.float64], bits: int) -> NDArray[np.float32]:
    """Round to a number of mantissa bits, at most 22, which compresses well."""
    dropped = _FLOAT32_MANTISSA - bits
    raw = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half = np.uint32(1 << (dropped - 1))
    mask = np.uint32(0xFFFFFFFF ^ ((1 << dropped) - 1))
    return ((raw + half) & mask).view(np.float32)


def collection_columns(
    name: str, objects: Collection, keep: NDArray[np.bool_]
) -> Columns:
    """Return the branches of a NanoAOD collection for the events that are kept."""
    chosen = keep[objects.event]
    counts = np.bincount(objects.event[chosen], minlength=len(keep))[keep]
    columns: Columns = {f"n{name}": counts.astype(np.int32)}
    for column, array in objects.columns.items():
        kept = array[chosen]
        if np.issubdtype(kept.dtype, np.floating):
            bits = _BITS.get(column, _DEFAULT_BITS)
            bits = _BITS_OF_TRUTH if name == "GenPart" else bits
            kept = rounded(kept.astype(np.float64), bits)
        columns[f"{name}_{column}"] = kept
    return columns


def concatenated(parts: Iterable[Columns]) -> Columns:
    """Return the events of several parts, at least one, one after the other."""
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def content_digest(columns: Columns) -> str:
    """Return the SHA-256 of names, types and values.

    It does not depend on the order of the columns, on the compression, on the file
    format or on the machine's byte order.
    """
    digest = hashlib.sha256()
    for name in sorted(columns):
        array = columns[name].astype(columns[name].dtype.newbyteorder("<"))
        digest.update(f"{name}:{array.dtype.name}:{len(array)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _arrays(columns: Columns, layout: Layout) -> dict[str, ak.Array]:
    """Group the columns of each collection; what has no counts stays as it is."""
    import awkward as ak

    collections: dict[str, dict[str, ak.Array]] = {}
    arrays: dict[str, ak.Array] = {}
    prefixes = {name.partition("_")[0] for name in columns if "_" in name}
    counters = {prefix: layout.counter.format(prefix) for prefix in prefixes}
    counters = {name: its for name, its in counters.items() if its in columns}
    for name, values in columns.items():
        collection, _, column = name.partition("_")
        if name in counters.values():
            continue
        if collection in counters:
            counts = columns[counters[collection]]
            fields = collections.setdefault(collection, {})
            fields[column] = ak.unflatten(values, counts)
        else:
            arrays[name] = ak.Array(values)
    return arrays | {name: ak.zip(fields) for name, fields in collections.items()}


def _without_times(raw: bytes, tree: str) -> bytes:
    """Set every time in a file of one tree to the same constant."""
    import uproot

    with uproot.open(io.BytesIO(raw)) as directory:
        file, key = directory.file, directory.key(tree)
        seeks = [
            file.fBEGIN,
            file.fSeekFree,
            file.fSeekInfo,
            directory.fSeekKeys,
            key.fSeekKey,
            *(int(b.member("fBasketSeek")[0]) for b in directory[tree].branches),
        ]
        times = [seek + _TIME_IN_KEY for seek in seeks]
        header = file.fBEGIN + file.fNbytesName
        times += [header + offset for offset in _TIMES_IN_DIRECTORY]
        list_header = struct.unpack_from(">h", raw, directory.fSeekKeys + 14)[0]
        times.append(directory.fSeekKeys + list_header + _KEY_COUNT + _TIME_IN_KEY)
    patched = bytearray(raw)
    for position in times:
        patched[position : position + len(_NO_TIME)] = _NO_TIME
    return bytes(patched)


def root_bytes(columns: Columns, layout: Layout = NANOAOD) -> bytes:
    """Return the content of a ROOT file with one tree, one basket per branch.

    It is the same for the same columns, with the same versions of uproot and of the
    compressor: the file's UUID is taken from the content, and its times are set to the
    first that ROOT knows.
    """
    import uproot

    identity = uuid.UUID(hex=content_digest(columns)[:32])
    arrays = _arrays(columns, layout)
    buffer = io.BytesIO()
    with uproot.recreate(
        buffer, compression=uproot.LZMA(9), uuid_function=lambda: identity
    ) as file:
        tree = file.mktree(
            layout.tree,
            {name: array.type.content for name, array in arrays.items()},
            title=layout.label,
            counter_name=layout.counter.format,
        )
        tree.extend(arrays)
        raw = buffer.getvalue()
    return _without_times(raw, layout.tree)


def read_columns(path: Path, tree: str = NANOAOD.tree) -> Columns:
    """Read back the columns of a file, with the counts of each collection."""
    import awkward as ak
    import uproot

    with uproot.open(path) as file:
        arrays = {name: branch.array() for name, branch in file[tree].items()}
    return {
        name: ak.to_numpy(ak.flatten(array) if array.ndim > 1 else array)
        for name, array in arrays.items()
    }
