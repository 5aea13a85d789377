"""Electrons and muons, as CMS's files of ttbar and ATLAS's files of HZZ have them.

In the first they have any origin, and some are hadrons taken for leptons. In the second
all come from bosons, and most must be found, for there are four in an event.

Notes
-----
ATLAS's efficiencies start from its own of electrons (arXiv:1902.04655), muons, with the
gap in their spectrometer at eta = 0 (arXiv:1603.05598), and single-lepton triggers of
2016 (arXiv:1909.00761, arXiv:2004.13447). The public files ask for isolation and small
impact parameters besides; what that costs was set by us, in round numbers, with the
collision data at 80 to 100 and 180 to 250 GeV, where there is no Higgs boson: 59, 125
and 47 events of 4 electrons, 2 and 2, and 4 muons. Of these 8, 19 and 4 are reducible
(`agc.hzz.reducible`); 51, 102 and 53 genuine ones are expected with the efficiencies
below, each of which the data then know to 3 % (factors of 1.01 ± 0.03 for electrons and
0.97 ± 0.03 for muons would fit best). So yields of ZZ are no test of these numbers.
Thresholds are those that the files show.

The leptons of the reducible background that are not prompt have charges that are
opposite in 58 % of the pairs (100 of 172 collisions of odd flavour), as many electrons
as muons, independently of the charges, and a falling spectrum: our choice, so that the
control regions' masses are spread about as those of the collisions, with fewer below
100 GeV, where top pairs are.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from agc.standin import detector
from agc.standin.detector import ELECTRON, MUON
from agc.standin.files import Collection
from agc.standin.generator import Particles, activity, visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "AtlasLeptons",
    "atlas_leptons",
    "cms_leptons",
    "nonprompt_pairs",
    "true_leptons",
]

_PHOTON, _CHARGED_HADRONS = 22, (211, 321, 2212)
_MASS = {ELECTRON: 0.000511, MUON: 0.105658}
#: Radiated photons this close are measured with the electron.
_BREMSSTRAHLUNG_CONE = 0.1

#: Candidates below are dropped; the ttbar task starts at 30 GeV.
_MIN_PT = 10.0
_ABS_ETA_MAX = {ELECTRON: 2.5, MUON: 2.4}
_ISOLATION_CONE = {ELECTRON: 0.3, MUON: 0.4}
#: Share of the leptons that are reconstructed at all (our choice).
_RECONSTRUCTED = {ELECTRON: 0.95, MUON: 0.98}
#: Share of the charged hadrons above 10 GeV that look like a lepton (our choice).
_MISIDENTIFIED = {ELECTRON: 0.005, MUON: 0.002}
#: Width of the impact parameter's significance (our choice; medians of 1.5 and 0.5 in
#: the real NanoAOD).
_IMPACT_NOISE = {ELECTRON: 1.2, MUON: 0.45}
#: The skim's threshold; the task asks for 30 GeV, and leptons have no variation.
_SKIM_PT = 25.0
#: The loosest isolation of muons that CMS uses, and the loose electron.
_SKIM_ISOLATION, _SKIM_LEVEL = 0.25, 2

_ATLAS_MIN_PT = 7.0
_ATLAS_ABS_ETA_MAX = {ELECTRON: 2.47, MUON: 2.7}
#: Efficiency by pt in GeV: reconstruction, identification, isolation and impact
#: parameter together.
_EFFICIENCY_PT = (7.0, 15.0, 30.0, 60.0)
_EFFICIENCY = {ELECTRON: (0.67, 0.77, 0.86, 0.90), MUON: (0.74, 0.80, 0.86, 0.87)}
#: Where the muon spectrometer has a gap for services, and what is left there of muons.
_GAP_ABS_ETA, _GAP_FACTOR = 0.1, 0.7
#: The single-lepton triggers: threshold in GeV, reach in eta, efficiency.
_TRIGGER = {ELECTRON: (26.0, 2.47, 0.92), MUON: (26.0, 2.4, 0.75)}

#: Pairs of leptons that are not prompt: share of opposite charges; lowest pt and the
#: mean above it, in GeV; width of eta.
_OPPOSITE, _SOFTEST, _SLOPE, _ETA_WIDTH = 100 / 172, 5.0, 9.0, 1.0


def _radiated(particles: Particles, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the pt of the photons near electrons; 0 for other particles."""
    photon = visible(particles) & (particles.pdg_id == _PHOTON)
    radiated = activity(particles, rows, photon, _BREMSSTRAHLUNG_CONE)
    radiated[np.abs(particles.pdg_id[rows]) != ELECTRON] = 0.0
    return radiated


def _impact_mm(particles: Particles, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the distance between straight tracks and the collision, in mm."""
    momentum = particles.momentum[rows, :3]
    direction = momentum / np.linalg.norm(momentum, axis=1, keepdims=True)
    vertex = particles.vertex[rows]
    along = np.sum(vertex * direction, axis=1, keepdims=True)
    distance: NDArray[np.float64] = np.linalg.norm(vertex - along * direction, axis=1)
    return distance


def cms_leptons(
    particles: Particles, kind: int, rng: np.random.Generator
) -> Collection:
    """Reconstruct a batch's electrons (11) or muons (13): columns of NanoAOD.

    The skim counts those above 25 GeV that are loosely identified and isolated.
    """
    rows = np.flatnonzero(
        (particles.status > 0)
        & (particles.pt > _MIN_PT)
        & (np.abs(particles.eta) < _ABS_ETA_MAX[kind])
        & np.isin(np.abs(particles.pdg_id), (kind, *_CHARGED_HADRONS))
    )
    genuine = np.abs(particles.pdg_id[rows]) == kind
    chance = np.where(genuine, _RECONSTRUCTED[kind], _MISIDENTIFIED[kind])
    found = rng.random(len(rows)) < chance
    rows, genuine = rows[found], genuine[found]

    eta, pdg_id = particles.eta[rows], particles.pdg_id[rows]
    radiated = _radiated(particles, rows)
    resolution = detector.lepton_resolution(kind, eta)
    pt = (particles.pt[rows] + radiated) * detector.response(resolution, rng)
    around = activity(particles, rows, visible(particles), _ISOLATION_CONE[kind])
    relative = detector.isolation(around - radiated, pt, rng)
    columns: dict[str, NDArray[np.generic]] = {
        "pt": pt,
        "eta": eta,
        "phi": particles.phi[rows],
        "mass": np.full(len(rows), _MASS[kind]),
        "charge": np.where(genuine, -np.sign(pdg_id), np.sign(pdg_id)).astype(np.int32),
    }
    distance, noise = _impact_mm(particles, rows), _IMPACT_NOISE[kind]
    # The order of the draws, here too, is that of the files that ship.
    if kind == ELECTRON:
        level = detector.electron_id(genuine, relative, pt, rng)
        columns["sip3d"] = detector.impact_significance(distance, pt, noise, rng)
        columns["cutBased"] = level
        loose = level >= _SKIM_LEVEL
    else:
        columns["sip3d"] = detector.impact_significance(distance, pt, noise, rng)
        columns["tightId"] = detector.muon_id(genuine, rng)
        columns["pfRelIso04_all"] = relative
        loose = relative < _SKIM_ISOLATION
    event = particles.event[rows]
    leptons = Collection(event, columns, (pt > _SKIM_PT) & loose)
    return leptons.taken(np.lexsort((-pt, event)))


@dataclass(frozen=True)
class AtlasLeptons:
    """Electrons and muons of a batch, event after event; each of shape (leptons,)."""

    event: NDArray[np.int64]
    """The event's number in the batch."""
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

    def with_others(self, others: AtlasLeptons) -> AtlasLeptons:
        """Return them and others of the same events, which come last."""
        fields = (f.name for f in dataclasses.fields(self))
        return AtlasLeptons(
            *(np.concatenate([getattr(x, n) for x in (self, others)]) for n in fields)
        )

    def taken(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> AtlasLeptons:
        """Return some of them."""
        return AtlasLeptons(
            self.event[rows],
            self.pdg_id[rows],
            self.pt[rows],
            self.eta[rows],
            self.phi[rows],
        )


def true_leptons(particles: Particles) -> AtlasLeptons:
    """Return a batch's electrons, with the photons they radiated, and muons."""
    kind = np.abs(particles.pdg_id)
    rows = np.flatnonzero(visible(particles) & np.isin(kind, (ELECTRON, MUON)))
    return AtlasLeptons(
        particles.event[rows],
        particles.pdg_id[rows],
        particles.pt[rows] + _radiated(particles, rows),
        particles.eta[rows],
        particles.phi[rows],
    )


def nonprompt_pairs(n_events: int, rng: np.random.Generator) -> AtlasLeptons:
    """Return two leptons for each event that come from no boson, before the detector.

    Their flavours do not depend on their charges, which is what the ABCD method takes
    for granted.
    """
    sign = rng.choice([-1, 1], n_events)
    other = np.where(rng.random(n_events) < _OPPOSITE, -sign, sign)
    shape = (n_events, 2)
    kind = rng.choice([ELECTRON, MUON], shape)
    pdg_id = kind * np.stack([sign, other], axis=1)
    return AtlasLeptons(
        np.repeat(np.arange(n_events), 2),
        pdg_id.ravel(),
        _SOFTEST + rng.exponential(_SLOPE, shape).ravel(),
        rng.normal(0.0, _ETA_WIDTH, shape).ravel(),
        rng.uniform(-np.pi, np.pi, shape).ravel(),
    )


def atlas_leptons(
    true: AtlasLeptons, n_events: int, rng: np.random.Generator
) -> tuple[AtlasLeptons, dict[int, NDArray[np.bool_]]]:
    """Return what is found of a batch's leptons, and what triggered.

    The leptons are ordered by event and falling pt; for electrons (11) and muons (13)
    the second says which events one of them triggered.
    """
    electron = true.kind == ELECTRON
    resolution = np.where(
        electron,
        *(detector.lepton_resolution(kind, true.eta) for kind in (ELECTRON, MUON)),
    )
    pt = true.pt * detector.response(resolution, rng)
    reach = np.where(electron, _ATLAS_ABS_ETA_MAX[ELECTRON], _ATLAS_ABS_ETA_MAX[MUON])
    chance = np.where(
        electron,
        *(
            np.interp(pt, _EFFICIENCY_PT, _EFFICIENCY[kind])
            for kind in (ELECTRON, MUON)
        ),
    )
    chance[~electron & (np.abs(true.eta) < _GAP_ABS_ETA)] *= _GAP_FACTOR
    found = rng.random(len(pt)) < chance
    kept = np.flatnonzero(found & (pt > _ATLAS_MIN_PT) & (np.abs(true.eta) < reach))
    kept = kept[np.lexsort((-pt[kept], true.event[kept]))]
    leptons = replace(true, pt=pt).taken(kept)
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
