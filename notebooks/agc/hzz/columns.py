"""Reading the columns of the HZZ task: MeV in the files, GeV from here on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.errors import ImplausibleUnitsError, UnreadableFileError
from agc.inputs.columns import flat_columns

if TYPE_CHECKING:
    import awkward as ak
    import numpy.typing as npt

__all__ = ["BRANCHES", "TREE", "events_of"]

#: The name of the tree in every file.
TREE = "mini"

_WEIGHTS = (
    "mcWeight",
    "scaleFactor_ELE",
    "scaleFactor_MUON",
    "scaleFactor_LepTRIGGER",
    "scaleFactor_PILEUP",
)
#: Every branch that is read and the type it is converted to; momenta in MeV.
BRANCHES: dict[str, npt.DTypeLike] = {
    **{f"lep_{name}": np.float64 for name in ("pt", "eta", "phi", "E")},
    **{f"lep_{name}": np.int64 for name in ("charge", "type")},
    **dict.fromkeys(_WEIGHTS, np.float64),
}

#: What the momentum of a lepton can be in MeV: above 1 GeV, which is far below what
#: ATLAS reconstructs (7 GeV in these files), and up to the energy of a proton.
_PLAUSIBLE_MEV = (1e3, 6.5e6)
#: Largest relative difference between a lepton's energy and momentum. The mass of a
#: muon of 7 GeV makes 1e-4, a pt in another unit than the energy 1000.
_MASSLESS_RTOL = 0.01
_MEV_IN_GEV = 1e3


def events_of(
    arrays: Mapping[str, ak.Array], *, file: str = "the events", weighted: bool = True
) -> ak.Array:
    """Turn one array for each branch into events with leptons and a weight.

    ``leptons`` are momenta of vector in GeV with ``charge`` and ``kind`` (11 for
    electrons, 13 for muons); ``weight`` is ``mcWeight`` times the four scale factors,
    or 1 for collisions, whose weights mean nothing and mostly are zero.

    Raises
    ------
    UnreadableFileError
        A branch holds something else than wanted (`agc.inputs.columns.flat_columns`),
        or a weight is not a finite number.
    ImplausibleUnitsError
        A lepton's momentum is outside of what a collision can give in MeV, or does not
        match its energy.
    """
    import awkward as ak
    import vector
    from coffea.nanoevents.methods import nanoaod

    vector.register_awkward()
    columns, offsets = flat_columns(arrays, BRANCHES, file=file)
    _require_mev({n: columns[f"lep_{n}"] for n in ("pt", "eta", "E")}, file)
    leptons = {n: columns[f"lep_{n}"] / _MEV_IN_GEV for n in ("pt", "E")}
    leptons |= {n: columns[f"lep_{n}"] for n in ("eta", "phi", "charge")}
    leptons["kind"] = columns["lep_type"]  # an array's own `type` is another thing
    together = ak.unflatten(
        ak.zip(leptons, with_name="Momentum4D"), np.diff(offsets["lep"])
    )
    weight = np.ones(len(together))
    for name in _WEIGHTS if weighted else ():
        bad = ~np.isfinite(columns[name])
        if bad.any():
            cause = f"branch {name} holds {columns[name][bad][0]}, which is no weight"
            raise UnreadableFileError(file, cause)
        weight *= columns[name]
    return ak.zip(
        {"leptons": together, "weight": weight},
        depth_limit=1,
        with_name="NanoEvents",
        behavior=nanoaod.behavior,
    )


def _require_mev(leptons: Mapping[str, npt.NDArray[Any]], file: str) -> None:
    """Raise unless every lepton's momentum makes sense in MeV.

    Lepton by lepton, so that it does not depend on how events are cut into chunks.
    """
    low, high = _PLAUSIBLE_MEV
    pt, energy = leptons["pt"], leptons["E"]
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
    with np.errstate(over="ignore"):  # infinite is apart from any energy
        momentum = pt * np.cosh(leptons["eta"])
    apart = ~(np.abs(energy - momentum) <= _MASSLESS_RTOL * momentum)
    if apart.any():
        cause = (
            f"a lepton of momentum {momentum[apart][0]:g} has the energy "
            f"{energy[apart][0]:g}: pt and E are in different units"
        )
        raise ImplausibleUnitsError(file, cause)
