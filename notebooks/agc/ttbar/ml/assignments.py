"""Compiled passes over the signal events: features of every jet assignment, and sums.

An event counts as signal here if the kernel puts it into the region ``4j2b``: the
reference implementation assigns jets in no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from agc.compiled import compiled
from agc.errors import UnreadableFileError
from agc.fast import selection
from agc.fast.exact_sums import to_weight_step
from agc.fast.kernel import varied_pt
from agc.hists.build import N_BINS
from agc.inputs.columns import flat_columns
from agc.inputs.variations import (
    BTAG_VAR_PER_50_GEV,
    KINEMATIC_VARIATIONS,
    N_BTAG_VARIATIONS,
)
from agc.ttbar.features import FEATURES
from agc.ttbar.permutations import FIRST_PERMUTATION, MAX_JETS, PERMUTATIONS

if TYPE_CHECKING:
    import awkward as ak

    from agc.fast.columns import Events
    from agc.inputs.columns import FloatArray, IntArray

__all__ = [
    "ASSIGNMENT_BRANCHES",
    "AssignmentColumns",
    "SignalEvents",
    "add_features",
    "permutation_features",
    "read_assignment_columns",
    "signal_events",
]

#: What is read in addition to `agc.fast.columns.BRANCHES`.
ASSIGNMENT_BRANCHES: dict[str, npt.DTypeLike] = {
    "Electron_phi": np.float32,
    "Electron_mass": np.float32,
    "Muon_phi": np.float32,
    "Muon_mass": np.float32,
    "Jet_qgl": np.float32,
}

_MIN_BTAGS = 2
_FIRST_WEIGHT = len(KINEMATIC_VARIATIONS)
_LOW = np.array([feature.low for feature in FEATURES], np.float64)
_HIGH = np.array([feature.high for feature in FEATURES], np.float64)
_N_FEATURES = len(FEATURES)


class AssignmentColumns(NamedTuple):
    """What assigning jets needs of a chunk besides `agc.fast.columns.Events`."""

    electron_phi: FloatArray
    """In radians; at the electrons' places in the chunk."""
    electron_mass: FloatArray
    """In GeV."""
    muon_phi: FloatArray
    muon_mass: FloatArray
    qgl: FloatArray
    """The jets' quark-gluon likelihood; -1 where there is none."""


class SignalEvents(NamedTuple):
    """The events of a chunk that pass the selection under one kinematic variation."""

    event: IntArray
    """Their places in the chunk; shape (signal events,)."""
    n_jets: IntArray
    """Jets to permute, 4 to 6; as `event`."""
    offsets: IntArray
    """Where each one's permutations begin, and the end; shape (signal events + 1,)."""


class Particle(NamedTuple):
    """One lepton or jet; in GeV and radians."""

    pt: float
    eta: float
    phi: float
    mass: float


def read_assignment_columns(
    arrays: Mapping[str, ak.Array], events: Events, *, file: str = "the events"
) -> AssignmentColumns:
    """Turn one array for each of `ASSIGNMENT_BRANCHES` into flat, read-only ones.

    The arrays are as `agc.inputs.rootfiles.load_arrays` reads them, ``events`` the
    other columns of the same chunk; types and errors are those of
    `agc.fast.columns.read_columns`.
    """
    columns, offsets = flat_columns(arrays, ASSIGNMENT_BRANCHES, file=file)
    for name, collection in (
        ("Electron", events.electrons),
        ("Muon", events.muons),
        ("Jet", events.jets),
    ):
        if not np.array_equal(offsets[name], collection.offsets):
            cause = f"the branches {name}_* have lists of different lengths"
            raise UnreadableFileError(file, cause)
    return AssignmentColumns(*columns.values())


@compiled
def find_lepton(
    events: Events, columns: AssignmentColumns, e: int
) -> tuple[int, Particle]:
    """Return how many selected leptons event ``e`` has, and the last of them."""
    electrons, muons = events.electrons, events.muons
    n, lepton = 0, Particle(0.0, 0.0, 0.0, 0.0)
    for i in range(electrons.offsets[e], electrons.offsets[e + 1]):
        if selection.is_selected_electron(
            electrons.pt[i],
            electrons.eta[i],
            electrons.cut_based[i],
            electrons.sip3d[i],
        ):
            n += 1
            lepton = Particle(
                np.float64(electrons.pt[i]),
                np.float64(electrons.eta[i]),
                np.float64(columns.electron_phi[i]),
                np.float64(columns.electron_mass[i]),
            )
    for i in range(muons.offsets[e], muons.offsets[e + 1]):
        if selection.is_selected_muon(
            muons.pt[i],
            muons.eta[i],
            muons.tight_id[i],
            muons.sip3d[i],
            muons.isolation[i],
        ):
            n += 1
            lepton = Particle(
                np.float64(muons.pt[i]),
                np.float64(muons.eta[i]),
                np.float64(columns.muon_phi[i]),
                np.float64(columns.muon_mass[i]),
            )
    return n, lepton


@compiled
def leading_jets(  # noqa: PLR0917 - compiled functions have no keyword-only options
    events: Events,
    e: int,
    variation: int,
    resolution: FloatArray,
    place: IntArray,
    pt: FloatArray,
) -> int:
    """Find the jets to permute in event ``e``: 4 to 6, or 0 if it is no signal event.

    Writes the places in the columns and the varied pt in GeV of the first selected
    jets to ``place`` and ``pt``, shape (6,). The lepton is not looked at.
    """
    jets = events.jets
    n, n_btagged = 0, 0
    for jet in range(jets.offsets[e], jets.offsets[e + 1]):
        if not selection.jet_passes_identification(jets.eta[jet], jets.jet_id[jet]):
            continue
        jet_pt = varied_pt(events, e, jet, variation, resolution)
        if selection.passes_jet_pt(jet_pt):
            if n < MAX_JETS:
                place[n], pt[n] = jet, jet_pt
            n += 1
            n_btagged += selection.is_btagged(jets.btag[jet])
    if n < selection.MIN_JETS or n_btagged < _MIN_BTAGS:
        return 0
    return min(n, MAX_JETS)


@compiled
def signal_events(
    events: Events,
    columns: AssignmentColumns,
    variation: int,
    resolution: FloatArray,
) -> SignalEvents:
    """Find the events whose jets are to be assigned, in the chunk's order.

    ``variation`` is a place in `agc.inputs.variations.KINEMATIC_VARIATIONS`,
    ``resolution`` as `agc.fast.kernel.fill_sums` takes it.
    """
    n_events = len(events.event)
    event, n_jets = np.empty(n_events, np.int64), np.empty(n_events, np.int64)
    offsets = np.zeros(n_events + 1, np.int64)
    place, pt = np.empty(MAX_JETS, np.int64), np.empty(MAX_JETS)
    n = 0
    for e in range(n_events):
        many = events.jets.offsets[e + 1] - events.jets.offsets[e] >= selection.MIN_JETS
        if not many or find_lepton(events, columns, e)[0] != 1:
            continue
        used = leading_jets(events, e, variation, resolution, place, pt)
        if used > 0:
            event[n], n_jets[n] = e, used
            permutations = FIRST_PERMUTATION[used + 1] - FIRST_PERMUTATION[used]
            offsets[n + 1] = offsets[n] + permutations
            n += 1
    return SignalEvents(event[:n].copy(), n_jets[:n].copy(), offsets[: n + 1].copy())


@compiled
def four_momentum(particle: Particle) -> tuple[float, float, float, float]:
    """Return px, py, pz and energy in GeV."""
    px = particle.pt * math.cos(particle.phi)
    py = particle.pt * math.sin(particle.phi)
    pz = particle.pt * math.sinh(particle.eta)
    energy = math.sqrt(px**2 + py**2 + pz**2 + particle.mass**2)
    return px, py, pz, energy


@compiled
def invariant_mass(px: float, py: float, pz: float, energy: float) -> float:
    """Return the mass in GeV; negative where the momentum is space-like."""
    mass2 = energy**2 - px**2 - py**2 - pz**2
    return math.copysign(math.sqrt(abs(mass2)), mass2)


@compiled
def delta_r(one: Particle, other: Particle) -> float:
    """Return the distance in eta and phi, **without** wrapping the difference in phi.

    A slip of the reference implementation, but the published models were trained with
    it: it is part of the features' definition.
    """
    return math.hypot(one.eta - other.eta, one.phi - other.phi)


@compiled
def permutation_features(  # noqa: PLR0917 - compiled functions have no keyword-only options
    events: Events,
    columns: AssignmentColumns,
    variation: int,
    resolution: FloatArray,
    signal: SignalEvents,
    begin: int,
    end: int,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Compute the features of every permutation of some signal events.

    The events are the range from ``begin`` to ``end`` of those that `signal_events`
    found with the same columns, variation and resolution.

    Returns
    -------
    features : numpy.ndarray
        Shape (permutations, 20), float32: the columns as `agc.ttbar.features.FEATURES`,
        the rows from ``signal.offsets[begin]`` on, by event in the order of
        `agc.ttbar.permutations`. Energies in GeV.
    pt : numpy.ndarray
        The varied pt of the first four selected jets in GeV, shape (events, 4).
    """
    first_row = signal.offsets[begin]
    features = np.empty((signal.offsets[end] - first_row, _N_FEATURES), np.float32)
    leading_pt = np.empty((end - begin, N_BTAG_VARIATIONS))
    place, pt = np.empty(MAX_JETS, np.int64), np.empty(MAX_JETS)
    momentum = np.empty((MAX_JETS, 4))
    lepton_distance, lepton_mass = np.empty(MAX_JETS), np.empty(MAX_JETS)
    distance, pair_mass = np.empty((MAX_JETS, MAX_JETS)), np.empty((MAX_JETS, MAX_JETS))
    jets = events.jets
    for s in range(begin, end):
        e, n = signal.event[s], signal.n_jets[s]
        leading_jets(events, e, variation, resolution, place, pt)
        leading_pt[s - begin] = pt[:N_BTAG_VARIATIONS]
        _, lepton = find_lepton(events, columns, e)
        lepton_px, lepton_py, lepton_pz, lepton_energy = four_momentum(lepton)
        for i in range(n):
            a = place[i]
            jet = Particle(
                pt[i],
                np.float64(jets.eta[a]),
                np.float64(jets.phi[a]),
                np.float64(jets.mass[a]),
            )
            px, py, pz, energy = four_momentum(jet)
            momentum[i] = px, py, pz, energy
            lepton_distance[i] = delta_r(lepton, jet)
            lepton_mass[i] = invariant_mass(
                px + lepton_px, py + lepton_py, pz + lepton_pz, energy + lepton_energy
            )
            for j in range(i):
                b = place[j]
                distance[i, j] = distance[j, i] = delta_r(
                    jet,
                    Particle(
                        pt[j], np.float64(jets.eta[b]), np.float64(jets.phi[b]), 0.0
                    ),
                )
                p = momentum[i] + momentum[j]
                pair_mass[i, j] = invariant_mass(p[0], p[1], p[2], p[3])
        row = signal.offsets[s] - first_row
        for permutation in PERMUTATIONS[
            FIRST_PERMUTATION[n] : FIRST_PERMUTATION[n + 1]
        ]:
            w1, w2, b_had, b_lep = permutation
            px = momentum[w1, 0] + momentum[w2, 0] + momentum[b_had, 0]
            py = momentum[w1, 1] + momentum[w2, 1] + momentum[b_had, 1]
            pz = momentum[w1, 2] + momentum[w2, 2] + momentum[b_had, 2]
            energy = momentum[w1, 3] + momentum[w2, 3] + momentum[b_had, 3]
            values = features[row]
            values[0] = lepton_distance[b_lep]
            values[1] = distance[w1, w2]
            values[2] = distance[w1, b_had]
            values[3] = distance[w2, b_had]
            values[4] = lepton_mass[b_lep]
            values[5] = pair_mass[w1, w2]
            values[6] = invariant_mass(px, py, pz, energy)
            values[7] = math.hypot(px, py)
            for role in range(4):
                jet_place = place[permutation[role]]
                values[8 + role] = pt[permutation[role]]
                values[12 + role] = jets.btag[jet_place]
                values[16 + role] = columns.qgl[jet_place]
            row += 1
    return features, leading_pt


@compiled
def feature_bin(value: float, feature: int) -> int:
    """Return a feature's bin as `agc.fast.exact_sums.bin_of` does an observable's."""
    z = (value - _LOW[feature]) / (_HIGH[feature] - _LOW[feature])
    if z < 1.0:
        return 1 + int(z * N_BINS) if z >= 0.0 else 0
    return N_BINS + 1


@compiled
def add_features(
    sums: FloatArray,
    variation: int,
    features: FloatArray,
    pt: FloatArray,
    with_weights: bool,  # noqa: FBT001 - compiled functions have no keyword-only options
) -> None:
    """Add events, one permutation of each, to the sums of weights.

    The sums have the shape (features, variations, bins with flow, 2), as those of
    `agc.fast.kernel.fill_sums`; ``variation`` is a place in
    `agc.inputs.variations.KINEMATIC_VARIATIONS`; the features have the shape (events,
    20), and the pt of the first four selected jets, in GeV, (events, 4).
    ``with_weights`` fills the b-tag weights' variations, too.
    """
    for i in range(len(features)):
        for feature in range(_N_FEATURES):
            place = feature_bin(np.float64(features[i, feature]), feature)
            sums[feature, variation, place] += 1.0
            if not with_weights:
                continue
            for jet in range(N_BTAG_VARIATIONS):
                shift = to_weight_step(BTAG_VAR_PER_50_GEV * pt[i, jet] / 50.0)
                for down in range(2):
                    weight = 1.0 - shift if down else 1.0 + shift
                    cell = sums[feature, _FIRST_WEIGHT + 2 * jet + down, place]
                    cell[0] += weight
                    cell[1] += to_weight_step(weight * weight)
