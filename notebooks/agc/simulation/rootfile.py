"""ROOT files of NanoAOD columns that come out the same, byte for byte, every time."""

from __future__ import annotations

import io
import struct
import uuid
from typing import TYPE_CHECKING

from agc.simulation.nanoaod import Columns, content_digest

if TYPE_CHECKING:
    from pathlib import Path

    import awkward as ak

__all__ = ["LABEL", "TREE", "read_columns", "root_bytes"]

TREE = "Events"

#: What every plot and table of these events must say; the title of the tree, too.
LABEL = (
    "Simulated by the Casa project with Pythia 8 and a parametric detector; "
    "not CMS data, not CMS simulation"
)

#: 1 January 1995, 00:00:00, as ROOT packs it: the first time it can express.
_NO_TIME = struct.pack(">I", (1 << 22) | (1 << 17))
#: Where a key has its time, and where a directory has its two; ROOT's TKey and
#: TDirectory on disk.
_TIME_IN_KEY, _TIMES_IN_DIRECTORY = 10, (2, 6)
#: The number of keys in front of the keys of a list.
_KEY_COUNT = struct.calcsize(">i")


def _arrays(columns: Columns) -> dict[str, ak.Array]:
    """Group the columns of each collection; what has no counts stays as it is."""
    import awkward as ak

    collections: dict[str, dict[str, ak.Array]] = {}
    arrays: dict[str, ak.Array] = {}
    counted = {name.partition("_")[0] for name in columns if "_" in name}
    for name, values in columns.items():
        collection, _, column = name.partition("_")
        if column:
            fields = collections.setdefault(collection, {})
            fields[column] = ak.unflatten(values, columns[f"n{collection}"])
        elif name.removeprefix("n") not in counted:
            arrays[name] = ak.Array(values)
    return arrays | {name: ak.zip(fields) for name, fields in collections.items()}


def _without_times(raw: bytes) -> bytes:
    """Set every time in a file of one tree to the same constant."""
    import uproot

    with uproot.open(io.BytesIO(raw)) as directory:
        file, key = directory.file, directory.key(TREE)
        seeks = [
            file.fBEGIN,
            file.fSeekFree,
            file.fSeekInfo,
            directory.fSeekKeys,
            key.fSeekKey,
            *(int(b.member("fBasketSeek")[0]) for b in directory[TREE].branches),
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


def root_bytes(columns: Columns) -> bytes:
    """Return the content of a ROOT file with one tree, one basket per branch.

    Parameters
    ----------
    columns
        NanoAOD columns.

    Returns
    -------
    bytes
        The same for the same columns, with the same versions of uproot and of the
        compressor: the file's UUID is taken from the content, and its times are set to
        the first that ROOT knows.
    """
    import uproot

    identity = uuid.UUID(hex=content_digest(columns)[:32])
    arrays = _arrays(columns)
    buffer = io.BytesIO()
    with uproot.recreate(
        buffer, compression=uproot.LZMA(9), uuid_function=lambda: identity
    ) as file:
        tree = file.mktree(
            TREE,
            {name: array.type.content for name, array in arrays.items()},
            title=LABEL,
            counter_name=lambda name: f"n{name}",
        )
        tree.extend(arrays)
        raw = buffer.getvalue()
    return _without_times(raw)


def read_columns(path: Path) -> Columns:
    """Read the columns of a file that `root_bytes` made.

    Parameters
    ----------
    path
        The file.

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
        arrays = {name: branch.array() for name, branch in file[TREE].items()}
    return {
        name: ak.to_numpy(ak.flatten(array) if array.ndim > 1 else array)
        for name, array in arrays.items()
    }
