"""Which electrons, muons and jets pass CMS's identification.

The numbers' sources are in the table of `agc.simulation.detector`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agc.simulation.detector import TRACKER_ABS_ETA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["electron_id", "jet_id", "muon_id"]

#: Share of electrons whose shower shape passes veto, loose, medium and tight; with the
#: isolation cuts below, about 95, 90, 80 and 70 % of prompt electrons pass.
_SHOWER_SHAPE = {True: (0.97, 0.94, 0.87, 0.79), False: (0.20, 0.10, 0.04, 0.02)}
#: Cut on the relative isolation, a + b / pt, for the same four.
_ELECTRON_ISOLATION = (
    (0.198, 0.506),
    (0.112, 0.506),
    (0.0478, 0.506),
    (0.0287, 0.506),
)
_MUON_TIGHT = {True: 0.96, False: 0.10}

#: Largest energy fraction of neutral hadrons, and of photons, in a tight jet.
_MAX_NEUTRAL = 0.9
#: Largest energy fraction of muons, and of electrons, in a jet that is no lepton.
_MAX_LEPTON = 0.8
#: Share of the good jets that pass.
_JETS_IDENTIFIED = 0.99


def electron_id(
    genuine: NDArray[np.bool_],
    relative_isolation: NDArray[np.float64],
    pt: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Return the cut-based identification of electrons.

    Parameters
    ----------
    genuine
        Whether it is an electron and not a misidentified hadron.
    relative_isolation
        Isolation in a cone of 0.3.
    pt
        Transverse momentum in GeV.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray of int32
        0 fail, 1 veto, 2 loose, 3 medium, 4 tight; each level includes those below.
    """
    quality = rng.random(len(pt))
    level = np.zeros(len(pt), dtype=np.int32)
    passed = np.ones(len(pt), dtype=bool)
    for i, (constant, slope) in enumerate(_ELECTRON_ISOLATION):
        share = np.where(genuine, _SHOWER_SHAPE[True][i], _SHOWER_SHAPE[False][i])
        passed &= (quality < share) & (relative_isolation < constant + slope / pt)
        level += passed
    return level


def muon_id(genuine: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which muons pass the tight identification.

    Parameters
    ----------
    genuine
        Whether it is a muon and not a misidentified hadron.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray of bool
        96 % of the muons, 10 % of the hadrons.
    """
    share = np.where(genuine, _MUON_TIGHT[True], _MUON_TIGHT[False])
    return rng.random(len(genuine)) < share


def jet_id(
    fractions: dict[str, NDArray[np.float64]],
    n_constituents: NDArray[np.int64],
    eta: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Return the identification of jets.

    Parameters
    ----------
    fractions
        Energy fractions ``charged`` and ``neutral`` (hadrons), ``photon``,
        ``electron`` and ``muon``.
    n_constituents
        Number of particles.
    eta
        Pseudorapidity.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray of int32
        0 fail, 2 tight, 6 tight and not a lepton: no more than 80 % of the energy is
        muons, nor electrons.
    """
    tight = (
        (fractions["neutral"] < _MAX_NEUTRAL)
        & (fractions["photon"] < _MAX_NEUTRAL)
        & (n_constituents > 1)
    )
    central = np.abs(eta) < TRACKER_ABS_ETA
    tight &= ~central | (fractions["charged"] > 0) | (fractions["muon"] > 0)
    tight &= rng.random(len(eta)) < _JETS_IDENTIFIED
    no_lepton = (fractions["muon"] < _MAX_LEPTON) & (
        fractions["electron"] < _MAX_LEPTON
    )
    return np.where(tight, np.where(no_lepton, 6, 2), 0).astype(np.int32)
