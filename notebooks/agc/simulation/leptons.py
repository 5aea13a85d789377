"""Electrons and muons: genuine ones of any origin, and hadrons taken for leptons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agc.simulation import detector
from agc.simulation.identification import electron_id, muon_id
from agc.simulation.particles import Particles, neighbours, visible

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Leptons", "activity", "electrons", "muons"]

_ELECTRON, _MUON, _PHOTON = 11, 13, 22
_CHARGED_HADRONS = (211, 321, 2212)
#: Candidates below are dropped; the analysis starts at 30 GeV.
_MIN_PT = 10.0
_ABS_ETA_MAX = {_ELECTRON: 2.5, _MUON: 2.4}
_MASS = {_ELECTRON: 0.000511, _MUON: 0.105658}
#: Radiated photons this close are measured with the electron.
_BREMSSTRAHLUNG_CONE = 0.1
_ISOLATION_CONE = {_ELECTRON: 0.3, _MUON: 0.4}
#: Share of the leptons that are reconstructed at all (our choice).
_RECONSTRUCTED = {_ELECTRON: 0.95, _MUON: 0.98}
#: Share of the charged hadrons above 10 GeV that look like a lepton (our choice).
_MISIDENTIFIED = {_ELECTRON: 0.005, _MUON: 0.002}
#: Width of the impact parameter's significance (our choice; medians of 1.5 and 0.5 in
#: the real NanoAOD).
_IMPACT_NOISE = {_ELECTRON: 1.2, _MUON: 0.45}


@dataclass(frozen=True)
class Leptons:
    """The reconstructed leptons of one kind in a batch, ordered by event and pt."""

    event: NDArray[np.int64]
    """The event's number in the batch."""

    columns: dict[str, NDArray[np.generic]]
    """NanoAOD columns without the collection's name; momenta in GeV."""

    loose: NDArray[np.bool_]
    """Whether the skim counts it: loosely identified and isolated, above 25 GeV."""


#: The skim's threshold; the analysis asks for 30 GeV, and leptons have no variation.
SKIM_PT = 25.0
#: The loosest isolation of muons that CMS uses, and the loose electron.
_SKIM_ISOLATION, _SKIM_LEVEL = 0.25, 2


def _candidates(
    particles: Particles, kind: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the rows that are reconstructed as leptons of a kind."""
    rows = np.flatnonzero(
        (particles.status > 0)
        & (particles.pt > _MIN_PT)
        & (np.abs(particles.eta) < _ABS_ETA_MAX[kind])
        & np.isin(np.abs(particles.pdg_id), (kind, *_CHARGED_HADRONS))
    )
    genuine = np.abs(particles.pdg_id[rows]) == kind
    chance = np.where(genuine, _RECONSTRUCTED[kind], _MISIDENTIFIED[kind])
    return rows[rng.random(len(rows)) < chance]


def _impact_mm(particles: Particles, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the distance between straight tracks and the collision, in mm."""
    momentum = particles.momentum[rows, :3]
    direction = momentum / np.linalg.norm(momentum, axis=1, keepdims=True)
    vertex = particles.vertex[rows]
    along = np.sum(vertex * direction, axis=1, keepdims=True)
    distance: NDArray[np.float64] = np.linalg.norm(vertex - along * direction, axis=1)
    return distance


def activity(
    particles: Particles,
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    radius: float,
) -> NDArray[np.float64]:
    """Return the summed transverse momentum in cones.

    Parameters
    ----------
    particles
        A batch.
    rows
        The centres of the cones.
    others
        Increasing row numbers that may fall into a cone.
    radius
        The cones' size in (eta, phi).

    Returns
    -------
    numpy.ndarray of float64
        In GeV, one for each of ``rows``, which are not counted themselves.
    """
    index, other = neighbours(particles, rows, others, radius)
    summed: NDArray[np.float64] = np.bincount(
        index, weights=particles.pt[other], minlength=len(rows)
    ).astype(np.float64)
    return summed


def _ordered(
    event: NDArray[np.int64],
    columns: dict[str, NDArray[np.generic]],
    loose: NDArray[np.bool_],
) -> Leptons:
    order = np.lexsort((-columns["pt"].astype(np.float64), event))
    return Leptons(
        event=event[order],
        columns={name: values[order] for name, values in columns.items()},
        loose=loose[order],
    )


def electrons(particles: Particles, rng: np.random.Generator) -> Leptons:
    """Reconstruct the electrons of a batch.

    Parameters
    ----------
    particles
        The generated events.
    rng
        Source of randomness.

    Returns
    -------
    Leptons
        With pt, eta, phi, mass, charge, sip3d and cutBased.
    """
    rows = _candidates(particles, _ELECTRON, rng)
    seen = visible(particles)
    photon = particles.pdg_id == _PHOTON
    radiated = activity(
        particles, rows, np.flatnonzero(seen & photon), _BREMSSTRAHLUNG_CONE
    )
    genuine = np.abs(particles.pdg_id[rows]) == _ELECTRON
    radiated[~genuine] = 0.0
    eta = particles.eta[rows]
    pt = (particles.pt[rows] + radiated) * detector.response(
        detector.electron_resolution(eta), rng
    )
    around = activity(particles, rows, np.flatnonzero(seen), _ISOLATION_CONE[_ELECTRON])
    relative = detector.isolation(around - radiated, pt, rng)
    level = electron_id(genuine, relative, pt, rng)
    sip3d = detector.impact_significance(
        _impact_mm(particles, rows), pt, _IMPACT_NOISE[_ELECTRON], rng
    )
    return _ordered(
        particles.event[rows],
        {
            "pt": pt,
            "eta": eta,
            "phi": particles.phi[rows],
            "mass": np.full(len(rows), _MASS[_ELECTRON]),
            "charge": _charge(particles.pdg_id[rows]),
            "sip3d": sip3d,
            "cutBased": level,
        },
        (pt > SKIM_PT) & (level >= _SKIM_LEVEL),
    )


def muons(particles: Particles, rng: np.random.Generator) -> Leptons:
    """Reconstruct the muons of a batch.

    Parameters
    ----------
    particles
        The generated events.
    rng
        Source of randomness.

    Returns
    -------
    Leptons
        With pt, eta, phi, mass, charge, sip3d, tightId and pfRelIso04_all.
    """
    rows = _candidates(particles, _MUON, rng)
    genuine = np.abs(particles.pdg_id[rows]) == _MUON
    eta = particles.eta[rows]
    pt = particles.pt[rows] * detector.response(detector.muon_resolution(eta), rng)
    around = activity(
        particles, rows, np.flatnonzero(visible(particles)), _ISOLATION_CONE[_MUON]
    )
    relative = detector.isolation(around, pt, rng)
    sip3d = detector.impact_significance(
        _impact_mm(particles, rows), pt, _IMPACT_NOISE[_MUON], rng
    )
    return _ordered(
        particles.event[rows],
        {
            "pt": pt,
            "eta": eta,
            "phi": particles.phi[rows],
            "mass": np.full(len(rows), _MASS[_MUON]),
            "charge": _charge(particles.pdg_id[rows]),
            "sip3d": sip3d,
            "tightId": muon_id(genuine, rng),
            "pfRelIso04_all": relative,
        },
        (pt > SKIM_PT) & (relative < _SKIM_ISOLATION),
    )


def _charge(pdg_id: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return the electric charge of leptons and charged hadrons."""
    lepton = np.abs(pdg_id) <= _MUON
    return np.where(lepton, -np.sign(pdg_id), np.sign(pdg_id)).astype(np.int32)
