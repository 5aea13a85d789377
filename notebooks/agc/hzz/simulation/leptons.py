"""The detector of the HZZ stand-in: which leptons are found, and how well measured.

Notes
-----
Efficiencies start from ATLAS's own of electrons (arXiv:1902.04655), muons, with the gap
in their spectrometer at eta = 0 (arXiv:1603.05598), and single-lepton triggers of 2016
(arXiv:1909.00761, arXiv:2004.13447). The public files ask for isolation and small
impact parameters besides; what that costs was set by us, in round numbers, so that the
yields of 4 electrons and 4 muons come near those of the collision data. Thresholds are
those that the files show, resolutions those of `agc.simulation.detector`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agc.simulation import detector
from agc.simulation.leptons import activity
from agc.simulation.particles import Particles, visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ELECTRON", "MUON", "Leptons", "measured", "true_leptons"]

ELECTRON, MUON, _PHOTON = 11, 13, 22
_MASS = {ELECTRON: 0.000511, MUON: 0.105658}
_ABS_ETA_MAX = {ELECTRON: 2.47, MUON: 2.7}
_MIN_PT = 7.0
#: Radiated photons this close are measured with the electron.
_BREMSSTRAHLUNG_CONE = 0.1

#: Efficiency by pt in GeV: reconstruction, identification, isolation and impact
#: parameter together.
_EFFICIENCY_PT = (7.0, 15.0, 30.0, 60.0)
_EFFICIENCY = {ELECTRON: (0.68, 0.79, 0.88, 0.92), MUON: (0.80, 0.87, 0.93, 0.95)}
#: Where the muon spectrometer has a gap for services, and what is left there of muons.
_GAP_ABS_ETA, _GAP_FACTOR = 0.1, 0.7

#: The single-lepton triggers: threshold in GeV, reach in eta, efficiency.
_TRIGGER = {ELECTRON: (26.0, 2.47, 0.92), MUON: (26.0, 2.4, 0.75)}


@dataclass(frozen=True)
class Leptons:
    """Electrons and muons of a batch, event after event."""

    event: NDArray[np.int64]
    """The event's number in the batch, shape (leptons,), as all the others."""
    pdg_id: NDArray[np.int64]
    pt: NDArray[np.float64]
    """In GeV."""
    eta: NDArray[np.float64]
    phi: NDArray[np.float64]

    @property
    def kind(self) -> NDArray[np.int64]:
        """11 for electrons, 13 for muons."""
        return np.abs(self.pdg_id)

    @property
    def energy(self) -> NDArray[np.float64]:
        """Energies in GeV."""
        mass = np.where(self.kind == ELECTRON, _MASS[ELECTRON], _MASS[MUON])
        return np.hypot(self.pt * np.cosh(self.eta), mass)

    def taken(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Leptons:
        """Return some of them."""
        return Leptons(
            self.event[rows],
            self.pdg_id[rows],
            self.pt[rows],
            self.eta[rows],
            self.phi[rows],
        )


def true_leptons(particles: Particles) -> Leptons:
    """Return the generated electrons, with the photons they radiated, and muons.

    Parameters
    ----------
    particles
        A batch without hadrons: all its leptons come from bosons.

    Returns
    -------
    Leptons
        In the order of the particles.
    """
    kind = np.abs(particles.pdg_id)
    seen = visible(particles)
    rows = np.flatnonzero(seen & np.isin(kind, (ELECTRON, MUON)))
    photons = np.flatnonzero(seen & (kind == _PHOTON))
    radiated = activity(particles, rows, photons, _BREMSSTRAHLUNG_CONE)
    radiated[kind[rows] == MUON] = 0.0
    return Leptons(
        particles.event[rows],
        particles.pdg_id[rows],
        particles.pt[rows] + radiated,
        particles.eta[rows],
        particles.phi[rows],
    )


def measured(
    true: Leptons, n_events: int, rng: np.random.Generator
) -> tuple[Leptons, dict[int, NDArray[np.bool_]]]:
    """Return what the detector sees of a batch's leptons.

    Parameters
    ----------
    true
        The generated leptons.
    n_events
        The number of events in the batch.
    rng
        Source of randomness.

    Returns
    -------
    leptons : Leptons
        By event, then by falling pt.
    triggered : dict of int to numpy.ndarray of bool
        For electrons (11) and muons (13): which events one of them triggered.
    """
    electron = true.kind == ELECTRON
    resolution = np.where(
        electron,
        detector.electron_resolution(true.eta),
        detector.muon_resolution(true.eta),
    )
    pt = true.pt * detector.response(resolution, rng)
    reach = np.where(electron, _ABS_ETA_MAX[ELECTRON], _ABS_ETA_MAX[MUON])
    chance = np.where(
        electron,
        np.interp(pt, _EFFICIENCY_PT, _EFFICIENCY[ELECTRON]),
        np.interp(pt, _EFFICIENCY_PT, _EFFICIENCY[MUON]),
    )
    chance[~electron & (np.abs(true.eta) < _GAP_ABS_ETA)] *= _GAP_FACTOR
    found = rng.random(len(pt)) < chance
    kept = np.flatnonzero(found & (pt > _MIN_PT) & (np.abs(true.eta) < reach))
    kept = kept[np.lexsort((-pt[kept], true.event[kept]))]
    leptons = Leptons(
        true.event[kept], true.pdg_id[kept], pt[kept], true.eta[kept], true.phi[kept]
    )
    draws = rng.random(len(kept))
    triggered = {}
    for kind, (threshold, abs_eta, efficiency) in _TRIGGER.items():
        fired = (
            (leptons.kind == kind)
            & (leptons.pt > threshold)
            & (np.abs(leptons.eta) < abs_eta)
            & (draws < efficiency)
        )
        triggered[kind] = np.bincount(leptons.event[fired], minlength=n_events) > 0
    return leptons, triggered
