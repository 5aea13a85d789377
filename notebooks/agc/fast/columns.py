"""The columns that the ttbar analysis reads, as flat arrays with offsets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from agc.inputs.columns import BoolArray, FloatArray, IntArray, flat_columns
from agc.inputs.rootfiles import load_arrays
from agc.ttbar.config import COLUMNS

if TYPE_CHECKING:
    import awkward as ak

__all__ = [
    "BRANCHES",
    "Electrons",
    "Events",
    "Jets",
    "Muons",
    "load_columns",
    "read_columns",
]

#: Every branch that is read and the type it is converted to.
BRANCHES = COLUMNS


class Electrons(NamedTuple):
    """Electrons of a chunk; object ``i`` of event ``e`` is at ``offsets[e] + i``."""

    offsets: IntArray
    """Shape (events + 1,)."""
    pt: FloatArray
    """In GeV; this and the others have shape (electrons,)."""
    eta: FloatArray
    cut_based: IntArray
    sip3d: FloatArray


class Muons(NamedTuple):
    """Muons of a chunk, as `Electrons`."""

    offsets: IntArray
    pt: FloatArray
    eta: FloatArray
    tight_id: BoolArray
    sip3d: FloatArray
    isolation: FloatArray


class Jets(NamedTuple):
    """Jets of a chunk, as `Electrons`; pt and mass in GeV, phi in radians."""

    offsets: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    mass: FloatArray
    btag: FloatArray
    jet_id: IntArray


class Events(NamedTuple):
    """All columns of a chunk of events."""

    electrons: Electrons
    muons: Muons
    jets: Jets
    run: IntArray
    """Shape (events,), as the next two."""
    luminosity_block: IntArray
    event: IntArray


def load_columns(
    file: str,
    tree: str,
    *,
    entry_start: int | None = None,
    entry_stop: int | None = None,
    **options: Any,  # noqa: ANN401 - uproot's own
) -> tuple[Events, int]:
    """Read what the analysis needs of a range of events, all branches at once.

    The file is a path or URL, the tree a TTree or RNTuple; by default all its entries
    are read, and ``options`` go to `uproot.open`. Returned are the columns and the
    bytes that were requested from the file.

    Raises
    ------
    MissingTreeError
        There is no such tree.
    MissingBranchError
        A branch is not there; the message names it.
    UnreadableFileError
        The file or a branch cannot be read, or a branch's lists do not match those of
        its collection.
    """
    wanted: dict[str, Any] = {"entry_start": entry_start, "entry_stop": entry_stop}
    arrays, n_bytes = load_arrays(file, tree, BRANCHES, **wanted, **options)
    return read_columns(arrays, file=file), n_bytes


def read_columns(arrays: Mapping[str, ak.Array], *, file: str = "the events") -> Events:
    """Turn one array for each branch into the flat arrays that are computed with.

    ``arrays`` are a mapping, or a record array with the branches as fields; ``file`` is
    what messages call them. The flat ones are read-only, in NanoAOD's types. Lists of a
    branch that do not match those of its collection are an `UnreadableFileError`.
    """
    columns, offsets = flat_columns(arrays, BRANCHES, file=file)
    by_collection = {
        collection: [columns[name] for name in BRANCHES if name.startswith(collection)]
        for collection in ("Electron_", "Muon_", "Jet_")
    }
    return Events(
        Electrons(offsets["Electron"], *by_collection["Electron_"]),
        Muons(offsets["Muon"], *by_collection["Muon_"]),
        Jets(offsets["Jet"], *by_collection["Jet_"]),
        columns["run"],
        columns["luminosityBlock"],
        columns["event"],
    )
