"""Who came from whom: last copies, ancestors, and what hadronises or decays weakly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agc.simulation.particles import Particles

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "first_ancestor",
    "has_quark",
    "is_last_copy",
    "is_last_parton",
    "is_weakly_decaying",
]

_GLUON, _BOTTOM = 21, 5
#: The first codes of hadrons, and of those with three quarks.
_HADRONS, _BARYONS = 100, 1000


def has_quark(pdg_id: NDArray[np.int64], quark: int) -> NDArray[np.bool_]:
    """Return which PDG codes are hadrons whose heaviest quark is the one given.

    Parameters
    ----------
    pdg_id
        PDG codes.
    quark
        4 for charm, 5 for bottom.

    Returns
    -------
    numpy.ndarray of bool
        The same shape. Source: the PDG's numbering scheme, in which the digits of the
        thousands and the hundreds name the quarks, heaviest first.
    """
    code = np.abs(pdg_id) % 10_000
    heaviest = np.where(code >= _BARYONS, code // _BARYONS, code // _HADRONS)
    of_quark: NDArray[np.bool_] = (np.abs(pdg_id) > _HADRONS) & (heaviest == quark)
    return of_quark


def _mother_of(
    particles: Particles, rows: NDArray[np.int64] | NDArray[np.bool_]
) -> NDArray[np.int64]:
    mothers = particles.mother[rows]
    return mothers[mothers >= 0]


def is_weakly_decaying(particles: Particles, quark: int) -> NDArray[np.bool_]:
    """Return which rows are hadrons of a quark that decay without passing it on.

    Parameters
    ----------
    particles
        A batch.
    quark
        4 for charm, 5 for bottom.

    Returns
    -------
    numpy.ndarray of bool
        One per row: the last hadron of that flavour in its chain.
    """
    of_flavour = has_quark(particles.pdg_id, quark)
    last = of_flavour.copy()
    last[_mother_of(particles, of_flavour)] = False
    return last


def is_last_parton(particles: Particles) -> NDArray[np.bool_]:
    """Return which rows are the quarks and gluons that hadronise.

    Parameters
    ----------
    particles
        A batch.

    Returns
    -------
    numpy.ndarray of bool
        One per row: a parton with no parton among its daughters, beams excluded.
    """
    kind = np.abs(particles.pdg_id)
    parton = (kind <= _BOTTOM) | (kind == _GLUON)
    last: NDArray[np.bool_] = parton & (particles.pt > 0.0)
    last[_mother_of(particles, parton)] = False
    return last


def is_last_copy(particles: Particles) -> NDArray[np.bool_]:
    """Return which rows have no daughter that is the same particle.

    Parameters
    ----------
    particles
        A batch.

    Returns
    -------
    numpy.ndarray of bool
        One per row.
    """
    mothers = particles.mother
    same = (mothers >= 0) & (particles.pdg_id[mothers] == particles.pdg_id)
    last = np.ones(len(particles), dtype=bool)
    last[mothers[same]] = False
    return last


def first_ancestor(particles: Particles, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the nearest ancestor that is another particle.

    Parameters
    ----------
    particles
        A batch.
    rows
        Rows to start from.

    Returns
    -------
    numpy.ndarray of int64
        For each row, the mother of its first copy; -1 for none.
    """
    ancestor = particles.mother[rows]
    own = particles.pdg_id[rows]
    while True:
        copy = (ancestor >= 0) & (particles.pdg_id[ancestor] == own)
        if not copy.any():
            return ancestor
        ancestor = np.where(copy, particles.mother[ancestor], ancestor)
