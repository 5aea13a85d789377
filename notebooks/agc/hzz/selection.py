"""The selection of the HZZ task, the four-lepton mass, and the cut flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from agc.hzz.histograms import MASS_HIGH, MASS_LOW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from agc.hzz.columns import Events
    from agc.inputs.columns import FloatArray

__all__ = ["CHANNELS", "CUTS", "Selected", "four_lepton_mass", "select"]

N_LEPTONS = 4

#: Final states by the sum of the leptons' types: 11 for electrons, 13 for muons.
CHANNELS = {44: "4e", 48: "2e2μ", 52: "4μ"}

#: The rows of the cut flow; the last one is no cut but the range of the histogram.
CUTS = (
    "all entries",
    "exactly four leptons",
    "total charge zero",
    "4e, 2e2μ or 4μ",
    f"{MASS_LOW:g} < m(4l) < {MASS_HIGH:g} GeV",
)


class Selected(NamedTuple):
    """What is left of a chunk, and what was cut."""

    mass: NDArray[np.float64]
    """Four-lepton mass in GeV, shape (selected,)."""

    weight: FloatArray
    """Event weight before normalisation; 1 in collision data; shape (selected,)."""

    channel: NDArray[np.int64]
    """The sum of the lepton types, a key of `CHANNELS`; shape (selected,)."""

    passed: tuple[FloatArray, ...]
    """For each of `CUTS`, the weights of the events that passed up to there."""


def select(events: Events, *, is_data: bool) -> Selected:
    """Apply the selection: four leptons, charges and flavours that a ZZ pair allows.

    Parameters
    ----------
    events
        A chunk.
    is_data
        Whether these are collisions, which count once whatever their weight says.

    Returns
    -------
    Selected
        The events that pass, in their order.

    Notes
    -----
    As the AGC reference implementation has it: there is no cut on momenta, isolation or
    the masses of pairs, and the sums alone do not ask for opposite charges of each
    flavour.
    """
    starts, counts = events.offsets[:-1], np.diff(events.offsets)
    weight = np.ones(len(counts)) if is_data else events.weight
    four = counts == N_LEPTONS
    leptons = starts[four, None] + np.arange(N_LEPTONS)
    neutral = events.charge[leptons].sum(axis=1) == 0
    channel = events.kind[leptons].sum(axis=1)
    flavours = neutral & np.isin(channel, list(CHANNELS))
    mass = four_lepton_mass(events, leptons[flavours])
    of_four = weight[four]
    chosen = of_four[flavours]
    return Selected(
        mass,
        chosen,
        channel[flavours],
        (
            weight,
            of_four,
            of_four[neutral],
            chosen,
            chosen[(mass >= MASS_LOW) & (mass < MASS_HIGH)],
        ),
    )


def four_lepton_mass(events: Events, leptons: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the invariant mass of some leptons of each event.

    Parameters
    ----------
    events
        A chunk.
    leptons
        Their positions, shape (n, leptons).

    Returns
    -------
    numpy.ndarray of float64
        In GeV, shape (n,); added up lepton by lepton in double precision.
    """
    total = np.zeros((4, len(leptons)))
    for rows in leptons.T:
        pt, eta, phi = events.pt[rows], events.eta[rows], events.phi[rows]
        total += (
            events.energy[rows],
            pt * np.cos(phi),
            pt * np.sin(phi),
            pt * np.sinh(eta),
        )
    energy, px, py, pz = total
    squared = energy**2 - px**2 - py**2 - pz**2
    mass: NDArray[np.float64] = np.sqrt(np.maximum(squared, 0.0))
    return mass
