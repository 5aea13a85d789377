"""One batch of each task: from generated particles to the columns that are kept.

Notes
-----
*Truth.* The jet assignment is trained on top quarks and what became of them. NanoAOD's
GenPart keeps several copies of a particle, before and after it radiates. Here only the
last copies stand, so that a particle's mother is the last copy of its mother: t -> W b
and W -> q q' or l nu, ten rows an event. Bits of ``statusFlags`` as in CMS.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from agc.hzz.samples import LUMI_PB, sample_named
from agc.standin.detector import ELECTRON, MUON
from agc.standin.files import (
    Collection,
    Columns,
    collection_columns,
    concatenated,
    rounded,
)
from agc.standin.generator import (
    Particles,
    detector_rng,
    first_ancestor,
    generate,
    generate_leptonic,
    is_last_copy,
    pythia_seed,
)
from agc.standin.jets import cluster, reconstruct
from agc.standin.leptons import (
    AtlasLeptons,
    atlas_leptons,
    cms_leptons,
    nonprompt_pairs,
    true_leptons,
)
from agc.standin.recipes import HZZ, PSEUDODATA, Z_BOSONS, Recipe
from agc.standin.z_decays import boosted, four_lepton_decays

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Events", "genparts", "hzz_batch", "ttbar_batch"]

#: How many jets the skim of ttbar asks for, besides a lepton, and how many leptons that
#: of HZZ, as the tasks do. No event of the ttbar task is lost, nor with jets scaled by
#: 1.03, nor with a jet resolution of 5 % up to four standard deviations.
_MIN_JETS, _MIN_LEPTONS = 4, 4

_TOP, _W, _Z = 6, 24, 23
#: First and last code of the charged leptons and neutrinos.
_LEPTONS = (11, 16)
_IS_PROMPT, _IS_HARD_PROCESS, _FROM_HARD_PROCESS = 1 << 0, 1 << 7, 1 << 8
_IS_FIRST_COPY, _IS_LAST_COPY = 1 << 12, 1 << 13
#: Pythia's codes of the hard process.
_HARD_STATUS = (21, 29)

_MEV_IN_GEV = 1e3
#: Bits of the mantissa that HZZ keeps: 2**-14 is far below the resolution.
_BITS = {"pt": 13, "eta": 14, "phi": 14, "E": 15}
_SCALE_FACTORS = ("ELE", "MUON", "LepTRIGGER", "PILEUP")


@dataclass(frozen=True)
class Events:
    """The events of a batch, or of a whole sample, that the skim kept."""

    columns: Columns
    """The branches of the file."""

    generated: int
    """How many events were generated for them."""

    @property
    def kept(self) -> int:
        """How many there are."""
        return len(next(iter(self.columns.values())))


def genparts(particles: Particles) -> Collection:
    """Return the top quarks, their W bosons and quarks, and the decays of the W.

    Ordered by event, mothers first. ``genPartIdxMother`` is the row inside the event,
    -1 for the top quarks. As in NanoAOD the mass is that of heavy particles only and 0
    for the others.
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
    place = np.full(len(particles), -1)
    place[rows] = np.arange(len(rows)) - np.searchsorted(event, event)

    pdg_id = particles.pdg_id[rows]
    heavy = np.isin(np.abs(pdg_id), (_TOP, _W))
    momentum = particles.momentum[rows]
    mass2 = momentum[:, 3] ** 2 - np.sum(momentum[:, :3] ** 2, axis=1)
    code = np.abs(particles.status[rows])
    is_hard = (code >= _HARD_STATUS[0]) & (code <= _HARD_STATUS[1])
    is_first = particles.pdg_id[particles.mother[rows]] != pdg_id
    flags = (
        _IS_PROMPT
        + _FROM_HARD_PROCESS
        + _IS_LAST_COPY
        + np.where(is_hard, _IS_HARD_PROCESS, 0)
        + np.where(is_first, _IS_FIRST_COPY, 0)
    )
    columns: Columns = {
        "pt": particles.pt[rows],
        "eta": particles.eta[rows],
        "phi": particles.phi[rows],
        "mass": np.where(heavy, np.sqrt(np.maximum(mass2, 0.0)), 0.0),
        "pdgId": pdg_id.astype(np.int32),
        "status": np.where(particles.status[rows] > 0, 1, code).astype(np.int32),
        "statusFlags": flags.astype(np.int32),
        "genPartIdxMother": np.where(is_top, -1, place[mother]).astype(np.int32),
    }
    return Collection(event, columns, np.ones(len(rows), dtype=bool))


def ttbar_batch(name: str, recipe: Recipe, batch: int) -> Events:
    """Generate and reconstruct one batch, from 0, of a sample of the ttbar task.

    The result depends on the arguments only. ``luminosityBlock`` is the batch's number
    plus one; ``event`` counts the events of the whole sample that were followed from
    the hard process on, from one.
    """
    seed, rng = pythia_seed(name, batch), detector_rng(name, batch)
    if recipe.leptonic:
        particles, generated = generate_leptonic(
            recipe.settings, seed=seed, n_events=recipe.batch_size
        )
    else:
        generated = recipe.batch_size
        particles = generate(recipe.settings, seed=seed, n_events=generated)

    def counted(objects: Collection) -> NDArray[np.int64]:
        rows = objects.event[objects.counted]
        return np.bincount(rows, minlength=particles.n_events)

    collections = {
        "Electron": cms_leptons(particles, ELECTRON, rng),
        "Muon": cms_leptons(particles, MUON, rng),
    }
    leptons = counted(collections["Electron"]) + counted(collections["Muon"])
    # Clustering is the expensive part, and most events have no lepton.
    jets = reconstruct(cluster(particles, leptons >= 1), rng)
    keep = (leptons >= 1) & (counted(jets) >= _MIN_JETS)
    collections["Jet"] = jets
    if recipe.truth:
        collections["GenPart"] = genparts(particles)
    kept = np.flatnonzero(keep)
    columns: Columns = {
        "run": np.ones(len(kept), dtype=np.uint32),
        "luminosityBlock": np.full(len(kept), batch + 1, dtype=np.uint32),
        "event": (batch * recipe.batch_size + kept + 1).astype(np.uint64),
    }
    for collection, objects in collections.items():
        columns |= collection_columns(collection, objects, keep)
    return Events(columns, generated)


def hzz_batch(name: str, recipe: Recipe, batch: int) -> Events:
    """Generate and reconstruct one batch, from 0, of a sample of the HZZ task.

    The result depends on the arguments only. Pseudo-data draw from all other samples.
    ``generated`` counts without the Z decays.
    """
    if name != PSEUDODATA:
        columns = _four_leptons(name, recipe, batch, recipe.batch_size, recipe.z_decays)
        return Events(columns, recipe.batch_size)
    rng = detector_rng(name, batch)
    parts = []
    for other, its in HZZ.items():
        if other != PSEUDODATA:
            expected = [LUMI_PB * its.xsec_pb, LUMI_PB * its.z_decays_pb]
            n_events, n_z = rng.poisson(expected)
            part = _four_leptons(f"{name}/{other}", its, batch, int(n_events), int(n_z))
            parts.append(part)
    parts.append(_reducible(name, recipe, batch))
    columns = concatenated(parts)
    columns["mcWeight"] = np.zeros_like(columns["mcWeight"])
    return Events(columns, len(columns["eventNumber"]))


def _four_leptons(
    name: str, recipe: Recipe, batch: int, n_events: int, n_z: int
) -> Columns:
    """Return the columns of some generated events and some Z decays."""
    rng = detector_rng(name, batch)
    parts = []
    if n_events:
        seed = pythia_seed(name, batch)
        particles = generate(recipe.settings, seed=seed, n_events=n_events)
        true = true_leptons(particles)
        parts.append(_mini(true, n_events, rng, weight=1.0, first=1))
    if n_z:
        true = _z_leptons(pythia_seed(f"{name}/Z", batch), n_z, rng)
        weight = recipe.z_weight
        parts.append(_mini(true, n_z, rng, weight=weight, first=n_events + 1))
    columns = concatenated(parts)
    before = np.int32(batch * (n_events + n_z))
    columns["eventNumber"] = columns["eventNumber"].astype(np.int32) + before
    is_data = name.startswith(f"{PSEUDODATA}/")
    number = 0 if is_data else int(sample_named(name).file.split("_")[1][:6])
    columns["channelNumber"] = np.full_like(columns["eventNumber"], number)
    return columns


def _reducible(name: str, recipe: Recipe, batch: int) -> Columns:
    """Return the columns of Z bosons with two leptons that are not prompt."""
    name = f"{name}/reducible"
    rng = detector_rng(name, batch)
    n_events = int(rng.poisson(LUMI_PB * recipe.reducible_pb))
    seed = pythia_seed(name, batch)
    particles = generate(recipe.settings, seed=seed, n_events=n_events)
    leptons = true_leptons(particles).with_others(nonprompt_pairs(n_events, rng))
    columns = _mini(leptons, n_events, rng, weight=1.0, first=1)
    columns["channelNumber"] = np.zeros_like(columns["eventNumber"])
    return columns


def _z_leptons(seed: int, n_events: int, rng: np.random.Generator) -> AtlasLeptons:
    """Return the leptons of Z -> 4 lepton decays, with Pythia's Z bosons."""
    particles = generate(Z_BOSONS, seed=seed, n_events=n_events)
    bosons = is_last_copy(particles) & (particles.pdg_id == _Z)
    px, py, pz, energy = particles.momentum[bosons].T
    momentum = np.stack([energy, px, py, pz], axis=1)
    mass = np.sqrt(energy**2 - px**2 - py**2 - pz**2)
    rest, pdg_id = four_lepton_decays(mass, rng)
    decays = boosted(rest, momentum).reshape(-1, 4)
    pt = np.hypot(decays[:, 1], decays[:, 2])
    return AtlasLeptons(
        np.repeat(particles.event[bosons], 4),
        pdg_id.reshape(-1),
        pt,
        np.arcsinh(decays[:, 3] / pt),
        np.arctan2(decays[:, 2], decays[:, 1]),
    )


def _mini(
    true: AtlasLeptons,
    n_events: int,
    rng: np.random.Generator,
    *,
    weight: float,
    first: int,
) -> Columns:
    """Return the branches of the events with a trigger and four leptons or more."""
    leptons, triggered = atlas_leptons(true, n_events, rng)
    counts = np.bincount(leptons.event, minlength=n_events)
    keep = (counts >= _MIN_LEPTONS) & (triggered[ELECTRON] | triggered[MUON])
    n_kept = int(keep.sum())
    of_kept = leptons.taken(keep[leptons.event])
    pt = rounded(of_kept.pt * _MEV_IN_GEV, _BITS["pt"])
    eta = rounded(of_kept.eta, _BITS["eta"])
    as_stored = replace(
        of_kept,
        pt=pt.astype(np.float64) / _MEV_IN_GEV,
        eta=eta.astype(np.float64),
    )
    constants: Columns = {
        f"scaleFactor_{name}": np.ones(n_kept, dtype=np.float32)
        for name in _SCALE_FACTORS
    }
    return {
        "runNumber": np.full(n_kept, 284500, dtype=np.int32),
        "eventNumber": (np.flatnonzero(keep) + first).astype(np.int32),
        "mcWeight": np.full(n_kept, weight, dtype=np.float32),
        **constants,
        "trigE": triggered[ELECTRON][keep],
        "trigM": triggered[MUON][keep],
        "lep_n": counts[keep].astype(np.int32),
        "lep_pt": pt,
        "lep_eta": eta,
        "lep_phi": rounded(of_kept.phi, _BITS["phi"]),
        "lep_E": rounded(as_stored.energy * _MEV_IN_GEV, _BITS["E"]),
        "lep_charge": -np.sign(of_kept.pdg_id).astype(np.int32),
        "lep_type": of_kept.kind.astype(np.uint32),
    }
