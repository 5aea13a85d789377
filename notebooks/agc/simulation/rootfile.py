"""ROOT files of NanoAOD columns that come out the same, byte for byte, every time."""

from __future__ import annotations

import io
import struct
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agc.simulation.nanoaod import Columns, content_digest

if TYPE_CHECKING:
    from pathlib import Path

    import awkward as ak

__all__ = ["LABEL", "NANOAOD", "TREE", "Layout", "read_columns", "root_bytes"]

TREE = "Events"

#: What every plot and table of these events must say; the title of the tree, too.
LABEL = (
    "Simulated by the Casa project with Pythia 8 and a parametric detector; "
    "not CMS data, not CMS simulation"
)


@dataclass(frozen=True)
class Layout:
    """How an experiment names things in its files."""

    tree: str
    """The tree's name."""

    title: str
    """Its title: whose events these are."""

    counter: str
    """The name of a collection's counts, with ``{}`` for the collection."""

    def is_counted(self, collection: str, columns: Columns) -> bool:
        """Whether columns that start with a name belong to a collection."""
        return self.counter.format(collection) in columns


#: CMS's NanoAOD.
NANOAOD = Layout(TREE, LABEL, "n{}")

#: 1 January 1995, 00:00:00, as ROOT packs it: the first time it can express.
_NO_TIME = struct.pack(">I", (1 << 22) | (1 << 17))
#: Where a key has its time, and where a directory has its two; ROOT's TKey and
#: TDirectory on disk.
_TIME_IN_KEY, _TIMES_IN_DIRECTORY = 10, (2, 6)
#: The number of keys in front of the keys of a list.
_KEY_COUNT = struct.calcsize(">i")


def _arrays(columns: Columns, layout: Layout) -> dict[str, ak.Array]:
    """Group the columns of each collection; what has no counts stays as it is."""
    import awkward as ak

    collections: dict[str, dict[str, ak.Array]] = {}
    arrays: dict[str, ak.Array] = {}
    prefixes = {name.partition("_")[0] for name in columns if "_" in name}
    counted = {name for name in prefixes if layout.is_counted(name, columns)}
    counters = {layout.counter.format(name) for name in counted}
    for name, values in columns.items():
        collection, _, column = name.partition("_")
        if name in counters:
            continue
        if collection in counted:
            fields = collections.setdefault(collection, {})
            counts = columns[layout.counter.format(collection)]
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

    Parameters
    ----------
    columns
        One value per event, or those of a collection with its counts.
    layout
        How tree and counts are named.

    Returns
    -------
    bytes
        The same for the same columns, with the same versions of uproot and of the
        compressor: the file's UUID is taken from the content, and its times are set to
        the first that ROOT knows.
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
            title=layout.title,
            counter_name=layout.counter.format,
        )
        tree.extend(arrays)
        raw = buffer.getvalue()
    return _without_times(raw, layout.tree)


def read_columns(path: Path, tree: str = TREE) -> Columns:
    """Read the columns of a file that `root_bytes` made.

    Parameters
    ----------
    path
        The file.
    tree
        The tree's name.

    Returns
    -------
    dict of str to numpy.ndarray
        What was written: flat columns, and the counts of each collection.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    """
    import awkward as ak
    import uproot

    with uproot.open(path) as file:
        arrays = {name: branch.array() for name, branch in file[tree].items()}
    return {
        name: ak.to_numpy(ak.flatten(array) if array.ndim > 1 else array)
        for name, array in arrays.items()
    }
