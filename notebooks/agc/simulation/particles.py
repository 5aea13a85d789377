"""The generated particles of a batch as flat arrays, and which of them matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import awkward as ak
    from numpy.typing import NDArray

__all__ = [
    "Particles",
    "is_neutrino",
    "neighbours",
    "particles_of",
    "visible",
]

#: The edge of the forward calorimeter.
ABS_ETA_MAX = 5.0
_NEUTRINOS = (12, 14, 16)


@dataclass(frozen=True)
class Particles:
    """A batch of event records, one row per particle, event after event."""

    offsets: NDArray[np.int64]
    """Where each event's rows start; one more entry than events."""

    event: NDArray[np.int64]
    """The event's number in the batch."""

    pdg_id: NDArray[np.int64]
    """The particle's PDG code."""

    status: NDArray[np.int64]
    """Pythia's status code; positive for final particles."""

    mother: NDArray[np.int64]
    """The row of the (first) mother; -1 for none."""

    momentum: NDArray[np.float64]
    """px, py, pz and energy in GeV; shape (rows, 4)."""

    vertex: NDArray[np.float64]
    """x, y and z of the production vertex in mm; shape (rows, 3)."""

    pt: NDArray[np.float64]
    """Transverse momentum in GeV."""

    eta: NDArray[np.float64]
    """Pseudorapidity."""

    phi: NDArray[np.float64]
    """Azimuth."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.pdg_id)

    @property
    def n_events(self) -> int:
        """The number of events in the batch."""
        return len(self.offsets) - 1


def particles_of(batch: ak.Array) -> Particles:
    """Flatten Pythia's event records.

    Parameters
    ----------
    batch
        What `agc.simulation.generator.generate` returns.

    Returns
    -------
    Particles
        The same particles in the same order.
    """
    import awkward as ak

    records = batch.prt
    counts = ak.to_numpy(ak.num(records)).astype(np.int64)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    flat = ak.flatten(records)
    event = np.repeat(np.arange(len(counts)), counts)
    mother = ak.to_numpy(flat.mother1).astype(np.int64)
    mother = np.where(mother > 0, mother + offsets[event], -1)
    momentum = np.stack(
        [ak.to_numpy(flat.p[axis]) for axis in ("px", "py", "pz", "e")], axis=1
    )
    vertex = np.stack(
        [
            ak.to_numpy(ak.fill_none(flat.vProd[axis], 0.0))
            for axis in ("px", "py", "pz")
        ],
        axis=1,
    )
    pt = np.hypot(momentum[:, 0], momentum[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        eta = np.arcsinh(momentum[:, 2] / pt)
    return Particles(
        offsets=offsets,
        event=event,
        pdg_id=ak.to_numpy(flat.id).astype(np.int64),
        status=ak.to_numpy(flat.status).astype(np.int64),
        mother=mother,
        momentum=momentum,
        vertex=vertex,
        pt=pt,
        eta=eta,
        phi=np.arctan2(momentum[:, 1], momentum[:, 0]),
    )


def is_neutrino(pdg_id: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which PDG codes are neutrinos.

    Parameters
    ----------
    pdg_id
        PDG codes.

    Returns
    -------
    numpy.ndarray of bool
        The same shape.
    """
    return np.isin(np.abs(pdg_id), _NEUTRINOS)


def visible(particles: Particles) -> NDArray[np.bool_]:
    """Return which rows the detector sees: final, no neutrino, inside |eta| < 5.

    Parameters
    ----------
    particles
        A batch.

    Returns
    -------
    numpy.ndarray of bool
        One per row.
    """
    return (
        (particles.status > 0)
        & ~is_neutrino(particles.pdg_id)
        & (np.abs(particles.eta) < ABS_ETA_MAX)
    )


def neighbours(
    particles: Particles,
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    radius: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair rows with the other rows of the same event inside a cone.

    Parameters
    ----------
    particles
        A batch.
    rows
        The centres of the cones.
    others
        Increasing row numbers that may fall into a cone.
    radius
        The cone's size in (eta, phi).

    Returns
    -------
    index : numpy.ndarray of int64
        Positions in ``rows``, increasing.
    other : numpy.ndarray of int64
        Row numbers; a row is not its own neighbour.
    """
    start = np.searchsorted(others, particles.offsets[particles.event[rows]])
    stop = np.searchsorted(others, particles.offsets[particles.event[rows] + 1])
    counts = stop - start
    index = np.repeat(np.arange(len(rows)), counts)
    first = np.repeat(start - (np.cumsum(counts) - counts), counts)
    other = others[first + np.arange(len(index))]
    centre = rows[index]
    delta_phi = particles.phi[centre] - particles.phi[other]
    delta_phi = (delta_phi + np.pi) % (2 * np.pi) - np.pi
    distance = np.hypot(particles.eta[centre] - particles.eta[other], delta_phi)
    near = (distance < radius) & (centre != other)
    return index[near], other[near]
