"""Jets: anti-kt clusters of what the detector sees, with flavour and identification.

Leptons are clustered too, as in CMS: an isolated lepton is also a jet in the file, and
the lepton veto of ``jetId`` is what keeps it out of the analysis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agc.standin import detector
from agc.standin.files import Collection
from agc.standin.generator import (
    Particles,
    is_last_parton,
    is_weakly_decaying,
    visible,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GenJets", "cluster", "reconstruct"]

#: The jets of CMS: anti-kt with this radius.
_RADIUS = 0.4
#: Jets below are not followed; far enough below `_MIN_PT` not to shape it.
_MIN_GEN_PT = 12.0
#: Jets in the file start here; the analysis asks for 30 GeV.
_MIN_PT = 20.0
#: The skim's threshold. The largest variation of the analysis, a resolution of 5 %,
#: needs four standard deviations to lift such a jet above 30 GeV.
_SKIM_PT = 25.0
_NOT_A_LEPTON = 4
#: Ghosts carry a direction and no momentum to speak of.
_GHOST_SCALE = 1e-15
#: Hadrons softer than this do not make a jet a b or c jet (our choice).
_MIN_HADRON_PT = 5.0
_CHARM, _BOTTOM, _GLUON, _PHOTON, _HADRONS = 4, 5, 21, 22, 100
#: Long-lived neutral hadrons: n, K0L, K0S, Lambda, Xi0.
_NEUTRAL_HADRONS = (2112, 130, 310, 3122, 3322)


@dataclass(frozen=True)
class GenJets:
    """Clustered jets before the detector, ordered by event."""

    event: NDArray[np.int64]
    """The event's number in the batch."""

    momentum: NDArray[np.float64]
    """px, py, pz and energy in GeV; shape (jets, 4)."""

    flavour: NDArray[np.int64]
    """5 with a b hadron inside, else 4 with a c hadron, else 0."""

    is_quark: NDArray[np.bool_]
    """Whether the hardest parton inside is a quark."""

    fractions: dict[str, NDArray[np.float64]]
    """Energy fractions by kind of particle."""

    n_constituents: NDArray[np.int64]
    """Number of particles."""


def _kinds(pdg_id: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    code = np.abs(pdg_id)
    neutral = np.isin(code, _NEUTRAL_HADRONS)
    return {
        "charged": (code > _HADRONS) & ~neutral,
        "neutral": neutral,
        "photon": code == _PHOTON,
        "electron": code == detector.ELECTRON,
        "muon": code == detector.MUON,
    }


def cluster(particles: Particles, events: NDArray[np.bool_]) -> GenJets:
    """Cluster the visible particles of some events, a mask, to jets above 12 GeV.

    Flavours follow CMS: hadrons and partons are clustered along as ghosts.
    """
    import awkward as ak
    import fastjet

    chosen = events[particles.event]
    seen = visible(particles) & chosen
    hard = chosen & (particles.pt > _MIN_HADRON_PT)
    bottom = is_weakly_decaying(particles, _BOTTOM) & hard
    charm = is_weakly_decaying(particles, _CHARM) & hard
    parton = is_last_parton(particles) & chosen
    rows = np.flatnonzero(seen | bottom | charm | parton)
    # A stable hadron would be both seen and a ghost: what is seen is never a ghost.
    momentum = (
        particles.momentum[rows]
        * np.where(seen[rows], 1.0, _GHOST_SCALE)[:, np.newaxis]
    )
    counts = np.bincount(particles.event[rows], minlength=particles.n_events)
    axes = ("px", "py", "pz", "E")
    inputs = ak.zip(
        {name: ak.unflatten(momentum[:, i], counts) for i, name in enumerate(axes)},
        with_name="Momentum4D",
    )
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, _RADIUS)
    sequence = fastjet.ClusterSequence(inputs, definition)
    jets = sequence.inclusive_jets(min_pt=_MIN_GEN_PT)
    inside = sequence.constituent_index(min_pt=_MIN_GEN_PT)

    # Flat arrays: one entry per jet, and one per particle inside of a jet.
    event = np.repeat(np.arange(particles.n_events), ak.to_numpy(ak.num(jets, axis=1)))
    flat = ak.flatten(jets, axis=1)
    members = ak.flatten(inside, axis=1)
    n_members = ak.to_numpy(ak.num(members, axis=1))
    jet = np.repeat(np.arange(len(event)), n_members)
    start = (np.cumsum(counts) - counts)[event]
    row = rows[ak.to_numpy(ak.flatten(members, axis=1)) + np.repeat(start, n_members)]

    def summed(weights: NDArray[np.generic]) -> NDArray[np.float64]:
        sums: NDArray[np.float64] = np.bincount(
            jet, weights=weights, minlength=len(event)
        ).astype(np.float64)
        return sums

    energy = particles.momentum[row, 3] * seen[row]
    total = summed(energy)
    kinds = _kinds(particles.pdg_id[row])
    hardest = np.zeros(len(event), dtype=np.int64)
    ghost = parton[row]
    ascending = np.argsort(particles.pt[row[ghost]], kind="stable")
    hardest[jet[ghost][ascending]] = particles.pdg_id[row[ghost][ascending]]
    return GenJets(
        event=event,
        momentum=np.stack([ak.to_numpy(flat[name]) for name in axes], axis=1),
        flavour=np.where(
            summed(bottom[row]) > 0,
            _BOTTOM,
            np.where(summed(charm[row]) > 0, _CHARM, 0),
        ),
        is_quark=(hardest != 0) & (np.abs(hardest) != _GLUON),
        fractions={name: summed(energy * is_) / total for name, is_ in kinds.items()},
        n_constituents=summed(seen[row]).astype(np.int64),
    )


def reconstruct(jets: GenJets, rng: np.random.Generator) -> Collection:
    """Measure clustered jets: those above 20 GeV, by event and pt.

    Energy and mass are scaled by the same response. The skim counts jets above 25 GeV
    inside |eta| < 2.4 that are not leptons.
    """
    px, py, pz, energy = jets.momentum.T
    gen_pt = np.hypot(px, py)
    eta = np.arcsinh(pz / gen_pt)
    mass = np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0))
    scale = detector.response(detector.jet_resolution(gen_pt), rng)
    pt = gen_pt * scale
    identified = detector.jet_id(jets.fractions, jets.n_constituents, eta, rng)
    columns: dict[str, NDArray[np.generic]] = {
        "pt": pt,
        "eta": eta,
        "phi": np.arctan2(py, px),
        "mass": mass * scale,
        "btagCSVV2": detector.btag(jets.flavour, eta, rng),
        "jetId": identified,
        "qgl": detector.qgl(jets.is_quark, rng),
    }
    good = (
        (pt > _SKIM_PT)
        & (np.abs(eta) < detector.TRACKER_ABS_ETA)
        & ((identified & _NOT_A_LEPTON) != 0)
    )
    order = np.lexsort((-pt, jets.event))
    return Collection(jets.event, columns, good).taken(order[pt[order] > _MIN_PT])
