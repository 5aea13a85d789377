"""Columns as a coffea user knows them: ``events.Jet.pt``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agc.inputs.columns import flat_columns

if TYPE_CHECKING:
    import awkward as ak
    import numpy.typing as npt

__all__ = ["nano_events"]

#: What coffea calls objects that have some columns: it decides what they can do.
_KINDS = {
    "PtEtaPhiMCandidate": {"pt", "eta", "phi", "mass", "charge"},
    "PtEtaPhiMLorentzVector": {"pt", "eta", "phi", "mass"},
    "NanoCollection": set[str](),
}


def nano_events(
    arrays: Mapping[str, ak.Array],
    columns: Mapping[str, npt.DTypeLike | None],
    metadata: Mapping[str, Any],
    *,
    file: str = "the events",
) -> ak.Array:
    """Return events as coffea's NanoEvents, made of columns that were read in bulk.

    The same as ``NanoAODSchema`` builds, restricted to some columns: it spares a look
    at each of the file's hundreds of branches.

    Raises
    ------
    UnreadableFileError
        A branch's lists do not match those of its collection.
    """
    import awkward as ak
    from coffea.nanoevents.methods import nanoaod

    values, offsets = flat_columns(arrays, columns, file=file)
    contents: dict[str, Any] = {}
    for collection, starts in offsets.items():
        names = [name for name in columns if name.startswith(f"{collection}_")]
        if not names:  # a branch of lists that belongs to no collection
            numbers = ak.contents.NumpyArray(values[collection])
            contents[collection] = ak.contents.ListOffsetArray(
                ak.index.Index64(starts), numbers
            )
            continue
        fields = [name.removeprefix(f"{collection}_") for name in names]
        kind = next(kind for kind, needed in _KINDS.items() if needed <= {*fields})
        objects = ak.contents.RecordArray(
            [ak.contents.NumpyArray(values[name]) for name in names],
            fields,
            parameters={"__record__": kind},
        )
        contents[collection] = ak.contents.ListOffsetArray(
            ak.index.Index64(starts), objects
        )
    for name, column in values.items():
        if name.partition("_")[0] not in offsets:
            contents[name] = ak.contents.NumpyArray(column)
    events = ak.contents.RecordArray(
        list(contents.values()),
        list(contents),
        parameters={"__record__": "NanoEvents", "metadata": dict(metadata)},
    )
    return ak.Array(events, behavior=nanoaod.behavior)
