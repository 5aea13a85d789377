"""Which jet comes from which quark: the truth that the jet assignment is trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from agc.compiled import compiled
from agc.errors import UnreadableFileError
from agc.fast.columns import Events
from agc.inputs.columns import flat_columns
from agc.ttbar.ml.assignments import SignalEvents, leading_jets
from agc.ttbar.permutations import MAX_JETS, ROLES

if TYPE_CHECKING:
    import awkward as ak

    from agc.inputs.columns import FloatArray, IntArray

__all__ = [
    "TRUTH_BRANCHES",
    "TruthColumns",
    "jet_labels",
    "read_truth_columns",
    "true_roles",
]

#: What is read in addition, of simulated top-quark pairs.
TRUTH_BRANCHES: dict[str, npt.DTypeLike] = {
    "GenPart_eta": np.float32,
    "GenPart_phi": np.float32,
    "GenPart_pdgId": np.int32,
    "GenPart_statusFlags": np.int32,
    "GenPart_genPartIdxMother": np.int32,
}

#: Farther than this in eta and phi, a jet does not come from a quark (AGC reference
#: implementation, c37bf59).
MATCH_DISTANCE = 0.4

# Labels of a jet, as the reference implementation writes them; 0 is none of these.
W_JET, HADRONIC_B, LEPTONIC_B = 24, 6, -6

_TOP, _W, _HEAVIEST_QUARK_OF_JETS = 6, 24, 5
#: NanoAOD, GenPart_statusFlags: bit 13, isLastCopy.
_IS_LAST_COPY = 1 << 13
_N_LEADING = len(ROLES)


class TruthColumns(NamedTuple):
    """The generated particles of a chunk; angles in radians."""

    offsets: IntArray
    """Where each event's begin, and the end; shape (events + 1,)."""
    eta: FloatArray
    phi: FloatArray
    pdg_id: IntArray
    status_flags: IntArray
    mother: IntArray
    """Counted from the event's first; -1 for none."""


def read_truth_columns(
    arrays: Mapping[str, ak.Array], *, file: str = "the events"
) -> TruthColumns:
    """Turn one array for each of `TRUTH_BRANCHES` into flat, read-only ones.

    The arrays are as `agc.inputs.rootfiles.load_arrays` reads them, and the types
    NanoAOD's; ``file`` says in messages where they come from.

    Raises
    ------
    UnreadableFileError
        The branches have lists of different lengths; or a particle's mother is none of
        its event's particles, or does not stand before it.
    """
    columns, offsets = flat_columns(arrays, TRUTH_BRANCHES, file=file)
    starts, mothers = offsets["GenPart"], columns["GenPart_genPartIdxMother"]
    places = np.arange(len(mothers)) - np.repeat(starts[:-1], np.diff(starts))
    bad = (mothers < -1) | (mothers >= places)
    if bad.any():
        cause = (
            f"branch GenPart_genPartIdxMother says {mothers[bad][0]} of the particle "
            f"at {places[bad][0]} of its event: wanted is one before it, or -1"
        )
        raise UnreadableFileError(file, cause)
    return TruthColumns(starts, *columns.values())


@compiled
def origin_of(truth: TruthColumns, first: int, i: int) -> int:
    """Return the PDG code of what a particle comes from, past its own copies."""
    mother = truth.mother[first + i]
    while mother >= 0 and truth.pdg_id[first + mother] == truth.pdg_id[first + i]:
        mother = truth.mother[first + mother]
    return int(truth.pdg_id[first + mother]) if mother >= 0 else 0


@compiled
def quark_labels(truth: TruthColumns, e: int, labels: IntArray) -> None:
    """Label the quarks of an event's top-quark pair; 0 for all other particles.

    A top quark is the hadronic one if the W boson of its sign went to quarks.
    """
    first, end = truth.offsets[e], truth.offsets[e + 1]
    top_is_hadronic, antitop_is_hadronic = False, False
    for i in range(end - first):
        labels[i] = 0
        code = truth.pdg_id[first + i]
        last = truth.status_flags[first + i] & _IS_LAST_COPY
        if not last or abs(code) > _HEAVIEST_QUARK_OF_JETS or code == 0:
            continue
        origin = origin_of(truth, first, i)
        if abs(origin) == _W:
            labels[i] = W_JET
            top_is_hadronic = top_is_hadronic or origin > 0
            antitop_is_hadronic = antitop_is_hadronic or origin < 0
        elif abs(origin) == _TOP:
            labels[i] = HADRONIC_B if origin > 0 else LEPTONIC_B
    for i in range(end - first):
        if labels[i] == HADRONIC_B:
            labels[i] = HADRONIC_B if top_is_hadronic else LEPTONIC_B
        elif labels[i] == LEPTONIC_B:
            labels[i] = HADRONIC_B if antitop_is_hadronic else LEPTONIC_B


@compiled
def jet_labels(
    events: Events, truth: TruthColumns, signal: SignalEvents
) -> npt.NDArray[np.int64]:
    """Label the four leading selected jets of the signal events.

    These are what `agc.ttbar.ml.assignments.signal_events` finds for the nominal jets.
    A label is 24 for a jet from the W boson, 6 for the b jet of the hadronic top quark,
    -6 for that of the leptonic one, 0 for any other; shape (signal events, 4).

    Notes
    -----
    A jet comes from the nearest quark within `MATCH_DISTANCE`. Here, unlike in the
    features, the difference in phi is wrapped.
    """
    place, pt = np.empty(MAX_JETS, np.int64), np.empty(MAX_JETS)
    found = np.zeros((len(signal.event), _N_LEADING), np.int64)
    most = np.max(truth.offsets[1:] - truth.offsets[:-1]) if len(truth.eta) else 0
    labels = np.zeros(most, np.int64)
    for s in range(len(signal.event)):
        e = signal.event[s]
        leading_jets(events, e, 0, np.empty(0), place, pt)
        quark_labels(truth, e, labels)
        first = truth.offsets[e]
        for jet in range(_N_LEADING):
            eta, phi = events.jets.eta[place[jet]], events.jets.phi[place[jet]]
            nearest = MATCH_DISTANCE
            for i in range(truth.offsets[e + 1] - first):
                if labels[i] == 0:
                    continue
                turn = abs(phi - truth.phi[first + i]) % (2 * math.pi)
                turn = min(turn, 2 * math.pi - turn)
                distance = math.hypot(eta - truth.eta[first + i], turn)
                if distance < nearest:
                    nearest, found[s, jet] = distance, labels[i]
    return found


def true_roles(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the right permutation of the events whose four jets are all matched.

    Labels are those of `jet_labels`. The permutations have their shape, (events, 4):
    the places of the jets for `agc.ttbar.permutations.ROLES`, in the order that
    permutations have them; -1 everywhere where the labels are not two jets of the W
    boson and one of either b.

    Notes
    -----
    The reference implementation asks for labels that sum to 48. So do two jets of the W
    boson and two of nothing; here each label is asked for.

    Examples
    --------
    >>> true_roles(np.array([[24, 6, -6, 24], [24, 24, 0, 0]])).tolist()
    [[3, 0, 1, 2], [-1, -1, -1, -1]]
    """
    order = np.argsort(labels, axis=1, kind="stable")
    complete = np.array([LEPTONIC_B, HADRONIC_B, W_JET, W_JET])
    matched = (np.take_along_axis(labels, order, axis=1) == complete).all(axis=1)
    # of the W's two jets, permutations name the later one first
    roles = order[:, [3, 2, 1, 0]]
    roles[~matched] = -1
    return roles
