"""Reading the columns of the HZZ task: MeV in the files, GeV from here on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agc.errors import ImplausibleUnitsError
from agc.inputs.columns import FloatArray, IntArray, flat_columns
from agc.inputs.rootfiles import load_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping

    import awkward as ak

__all__ = ["BRANCHES", "TREE", "Events", "load_events", "read_events"]

#: The name of the tree in every file.
TREE = "mini"

#: Every branch that is read and the type it is converted to; momenta in MeV.
BRANCHES: dict[str, npt.DTypeLike] = {
    "lep_pt": np.float64,
    "lep_eta": np.float64,
    "lep_phi": np.float64,
    "lep_E": np.float64,
    "lep_charge": np.int64,
    "lep_type": np.int64,
    "mcWeight": np.float64,
    "scaleFactor_ELE": np.float64,
    "scaleFactor_MUON": np.float64,
    "scaleFactor_LepTRIGGER": np.float64,
    "scaleFactor_PILEUP": np.float64,
}
_LEPTONS = ("lep_pt", "lep_eta", "lep_phi", "lep_E", "lep_charge", "lep_type")
_WEIGHTS = tuple(name for name in BRANCHES if name not in _LEPTONS)

#: What the momentum of a lepton can be in MeV: above 1 GeV, which is far below what
#: ATLAS reconstructs (7 GeV in these files), and up to the energy of a proton.
_PLAUSIBLE_MEV = (1e3, 6.5e6)
#: Largest relative difference between a lepton's energy and momentum. The mass of a
#: muon of 7 GeV makes 1e-4, a pt in another unit than the energy 1000.
_MASSLESS_RTOL = 0.01
_MEV_IN_GEV = 1e3


class Events(NamedTuple):
    """A chunk of events; lepton ``i`` of event ``e`` is at ``offsets[e] + i``."""

    offsets: IntArray
    """Shape (events + 1,)."""
    pt: FloatArray
    """In GeV; this and the next five have shape (leptons,)."""
    eta: FloatArray
    phi: FloatArray
    """In radians."""
    energy: FloatArray
    """In GeV."""
    charge: IntArray
    kind: IntArray
    """11 for electrons, 13 for muons."""
    weight: FloatArray
    """``mcWeight`` times the four scale factors, shape (events,); without meaning, and
    mostly zero, in collision data."""


def load_events(
    file: str,
    *,
    entry_start: int | None = None,
    entry_stop: int | None = None,
    **options: Any,  # noqa: ANN401 - uproot's own
) -> tuple[Events, int]:
    """Read what the analysis needs of a range of events.

    Parameters
    ----------
    file
        Path or URL of a ROOT file.
    entry_start, entry_stop
        The range; by default all entries.
    **options
        More options of `uproot.open`.

    Returns
    -------
    tuple of Events and int
        The columns, and the bytes that were requested from the file.

    Raises
    ------
    MissingBranchError
        A branch is not there; the message names it.
    UnreadableFileError
        The file or a branch cannot be read.
    ImplausibleUnitsError
        Momenta that are not in MeV.
    """
    wanted: dict[str, Any] = {"entry_start": entry_start, "entry_stop": entry_stop}
    arrays, n_bytes = load_arrays(file, TREE, BRANCHES, **wanted, **options)
    return read_events(arrays, file=file), n_bytes


def read_events(arrays: Mapping[str, ak.Array], *, file: str = "the events") -> Events:
    """Turn one array for each branch into flat arrays in GeV.

    Parameters
    ----------
    arrays
        By branch, in the files' units.
    file
        Where they come from, for error messages.

    Returns
    -------
    Events
        Flat arrays.

    Raises
    ------
    UnreadableFileError
        A branch's lists do not match those of the others.
    ImplausibleUnitsError
        A lepton's momentum is outside of what a collision can give in MeV, or does not
        match its energy.
    """
    columns, offsets = flat_columns(arrays, BRANCHES, file=file)
    _require_mev(columns, file)
    weight = np.ones(len(offsets["lep"]) - 1)
    for name in _WEIGHTS:
        weight *= columns[name]
    return Events(
        offsets["lep"],
        columns["lep_pt"] / _MEV_IN_GEV,
        columns["lep_eta"],
        columns["lep_phi"],
        columns["lep_E"] / _MEV_IN_GEV,
        columns["lep_charge"],
        columns["lep_type"],
        weight,
    )


def _require_mev(columns: Mapping[str, FloatArray], file: str) -> None:
    """Raise unless every lepton's momentum makes sense in MeV.

    Lepton by lepton, so that it does not depend on how events are cut into chunks.
    """
    low, high = _PLAUSIBLE_MEV
    pt, energy = columns["lep_pt"], columns["lep_E"]
    bad = ~((pt >= low) & (energy <= high))
    if bad.any():
        worst = pt[bad][0]
        cause = (
            f"a lepton has pt = {worst:g} and E = {energy[bad][0]:g}, which cannot be "
            f"MeV ({low:g} to {high:g} is possible)"
        )
        if worst < low:
            cause += ": these look like GeV, and the branches of this task are in MeV"
        raise ImplausibleUnitsError(file, cause)
    momentum = pt * np.cosh(columns["lep_eta"])
    apart = ~(np.abs(energy - momentum) <= _MASSLESS_RTOL * momentum)
    if apart.any():
        cause = (
            f"a lepton of momentum {momentum[apart][0]:g} has the energy "
            f"{energy[apart][0]:g}: pt and E are in different units"
        )
        raise ImplausibleUnitsError(file, cause)
