"""The truth that the jet assignment is trained on: top quarks and what became of them.

Notes
-----
NanoAOD's GenPart keeps several copies of a particle, before and after it radiates. Here
only the last copies stand, so that a particle's mother is the last copy of its mother:
t -> W b and W -> q q' or l nu, ten rows an event. Bits of ``statusFlags`` as in CMS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agc.simulation.ancestry import first_ancestor, is_last_copy
from agc.simulation.particles import Particles

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GenParts", "genparts"]

_TOP, _W = 6, 24
#: First and last code of the charged leptons and neutrinos.
_LEPTONS = (11, 16)
_IS_PROMPT, _IS_HARD_PROCESS, _FROM_HARD_PROCESS = 1 << 0, 1 << 7, 1 << 8
_IS_FIRST_COPY, _IS_LAST_COPY = 1 << 12, 1 << 13
#: Pythia's codes of the hard process.
_HARD_STATUS = (21, 29)


@dataclass(frozen=True)
class GenParts:
    """The true particles of a batch, ordered by event, mothers first."""

    event: NDArray[np.int64]
    """The event's number in the batch."""

    columns: dict[str, NDArray[np.generic]]
    """NanoAOD columns without the collection's name; momenta in GeV."""


def genparts(particles: Particles) -> GenParts:
    """Return the top quarks, their W bosons and quarks, and the decays of the W.

    Parameters
    ----------
    particles
        The generated events.

    Returns
    -------
    GenParts
        With pt, eta, phi, mass, pdgId, status, statusFlags and genPartIdxMother (the
        row inside the event; -1 for the top quarks). As in NanoAOD the mass is that of
        heavy particles only and 0 for the others.
    """
    kind = np.abs(particles.pdg_id)
    wanted = (kind <= _TOP) | ((kind >= _LEPTONS[0]) & (kind <= _LEPTONS[1]))
    rows = np.flatnonzero(is_last_copy(particles) & (wanted | (kind == _W)))
    mother = first_ancestor(particles, rows)
    known = mother >= 0
    rows, mother = rows[known], mother[known]
    kind = kind[rows]
    parent = np.abs(particles.pdg_id[mother])
    grandparent = np.abs(particles.pdg_id[first_ancestor(particles, mother)])
    is_top = kind == _TOP
    from_top = (parent == _TOP) & ~is_top
    from_w = (parent == _W) & (grandparent == _TOP)
    rank = np.where(is_top, 0, np.where(from_top, np.where(kind == _W, 1, 2), 3))
    keep = is_top | from_top | from_w
    rows, mother, rank, is_top = rows[keep], mother[keep], rank[keep], is_top[keep]
    order = np.lexsort((rows, rank, particles.event[rows]))
    rows, mother, is_top = rows[order], mother[order], is_top[order]

    event = particles.event[rows]
    position = np.arange(len(rows)) - np.searchsorted(event, event)
    place = np.full(len(particles), -1)
    place[rows] = position
    index_of_mother = np.where(is_top, -1, place[mother])

    pdg_id = particles.pdg_id[rows]
    heavy = np.isin(np.abs(pdg_id), (_TOP, _W))
    momentum = particles.momentum[rows]
    mass2 = momentum[:, 3] ** 2 - np.sum(momentum[:, :3] ** 2, axis=1)
    code = np.abs(particles.status[rows])
    is_hard = (code >= _HARD_STATUS[0]) & (code <= _HARD_STATUS[1])
    origin = particles.mother[rows]
    is_first = particles.pdg_id[origin] != pdg_id
    flags = (
        _IS_PROMPT
        + _FROM_HARD_PROCESS
        + _IS_LAST_COPY
        + np.where(is_hard, _IS_HARD_PROCESS, 0)
        + np.where(is_first, _IS_FIRST_COPY, 0)
    )
    return GenParts(
        event=event,
        columns={
            "pt": particles.pt[rows],
            "eta": particles.eta[rows],
            "phi": particles.phi[rows],
            "mass": np.where(heavy, np.sqrt(np.maximum(mass2, 0.0)), 0.0),
            "pdgId": pdg_id.astype(np.int32),
            "status": np.where(particles.status[rows] > 0, 1, code).astype(np.int32),
            "statusFlags": flags.astype(np.int32),
            "genPartIdxMother": index_of_mother.astype(np.int32),
        },
    )
