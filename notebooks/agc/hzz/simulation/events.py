"""From generated leptons to the columns of the tree ``mini``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hzz.columns import TREE
from agc.hzz.samples import LUMI_PB, sample_named
from agc.hzz.simulation.leptons import (
    ELECTRON,
    MUON,
    Leptons,
    measured,
    true_leptons,
)
from agc.hzz.simulation.recipes import (
    PSEUDODATA,
    RECIPES,
    Z_BOSONS,
    FourLeptonRecipe,
)
from agc.hzz.simulation.z_to_four_leptons import boosted, four_lepton_decays
from agc.simulation.ancestry import is_last_copy
from agc.simulation.events import Batch
from agc.simulation.generator import detector_rng, generate, pythia_seed
from agc.simulation.manifest import described
from agc.simulation.nanoaod import Columns, concatenated, rounded
from agc.simulation.particles import particles_of
from agc.simulation.production import Sample
from agc.simulation.rootfile import Layout

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LABEL", "MINI", "describe", "simulate_batch"]

#: What every plot and table of these events must say; the title of the tree, too.
LABEL = (
    "Simulated by the Casa project with Pythia 8 and a parametric detector; "
    "not ATLAS data, not ATLAS simulation"
)

#: ATLAS Open Data of 2016.
MINI = Layout(TREE, LABEL, "{}_n")

#: What the analysis asks for, and so what the skim must keep.
_N_LEPTONS = 4
_MEV_IN_GEV = 1e3
#: Bits of the mantissa that are kept: 2**-14 is far below the resolution.
_BITS = {"pt": 13, "eta": 14, "phi": 14, "E": 15}
_SCALE_FACTORS = ("ELE", "MUON", "LepTRIGGER", "PILEUP")
_Z = 23


def simulate_batch(name: str, recipe: FourLeptonRecipe, batch: int) -> Batch:
    """Generate and reconstruct one batch of a sample.

    Parameters
    ----------
    name
        The sample's name.
    recipe
        How it is generated; that of the pseudo-data draws from all others.
    batch
        The batch's number, from 0. The result depends on the first three only.

    Returns
    -------
    Batch
        Columns of ``mini``; ``generated`` counts without the Z decays.

    Raises
    ------
    agc.simulation.generator.GeneratorError
        Pythia does not know a setting, does not start, or stopped early.
    ModuleNotFoundError
        Pythia is not installed.
    """
    if name != PSEUDODATA:
        columns = _events(name, recipe, batch, recipe.batch_size, recipe.z_decays)
        return Batch(columns, recipe.batch_size)
    rng = detector_rng(name, batch)
    parts = []
    for other, its in RECIPES.items():
        if other == PSEUDODATA:
            continue
        n_events, n_z = rng.poisson([LUMI_PB * its.xsec_pb, LUMI_PB * its.z_decays_pb])
        parts.append(_events(f"{name}/{other}", its, batch, int(n_events), int(n_z)))
    columns = concatenated(parts)
    columns["mcWeight"] = np.zeros_like(columns["mcWeight"])
    return Batch(columns, len(columns["eventNumber"]))


def describe(
    name: str, recipe: FourLeptonRecipe, sample: Sample, path: Path
) -> dict[str, Any]:
    """Return the manifest's entry of one sample.

    Parameters
    ----------
    name, recipe, sample, path
        As for `agc.simulation.manifest.describe`.

    Returns
    -------
    dict
        ``sumw`` is the sum of weights to normalise with in the place of the public
        sample's: of the events that its whole cross-section would give.
    """
    if name == PSEUDODATA:
        return described(recipe, sample, path, {"lumi_pb": LUMI_PB})
    xsec_pb = sample_named(name).xsec_pb
    sumw = sample.generated * xsec_pb / recipe.xsec_pb
    normalisation = {"sumw": round(sumw, 3), "xsec_pb": xsec_pb}
    return described(recipe, sample, path, normalisation)


def _events(
    name: str, recipe: FourLeptonRecipe, batch: int, n_events: int, n_z: int
) -> Columns:
    """Return the columns of some generated events and some Z decays."""
    rng = detector_rng(name, batch)
    seed = pythia_seed(name, batch)
    parts = []
    if n_events:
        records = generate(recipe.settings, seed=seed, n_events=n_events)
        true = true_leptons(particles_of(records))
        parts.append(_mini(true, n_events, rng, weight=1.0, first=1))
    if n_z:
        true = _z_leptons(f"{name}/Z", batch, n_z, rng)
        weight = recipe.z_weight
        parts.append(_mini(true, n_z, rng, weight=weight, first=n_events + 1))
    columns = concatenated(parts)
    before = np.int32(batch * (n_events + n_z))
    columns["eventNumber"] = columns["eventNumber"].astype(np.int32) + before
    base = name.removeprefix(f"{PSEUDODATA}/")
    number = 0 if base != name else int(sample_named(base).file.split("_")[1][:6])
    columns["channelNumber"] = np.full_like(columns["eventNumber"], number)
    return columns


def _z_leptons(
    name: str, batch: int, n_events: int, rng: np.random.Generator
) -> Leptons:
    """Return the leptons of Z -> 4 lepton decays, with Pythia's Z bosons."""
    seed = pythia_seed(name, batch)
    particles = particles_of(generate(Z_BOSONS, seed=seed, n_events=n_events))
    bosons = is_last_copy(particles) & (particles.pdg_id == _Z)
    px, py, pz, energy = particles.momentum[bosons].T
    momentum = np.stack([energy, px, py, pz], axis=1)
    mass = np.sqrt(energy**2 - px**2 - py**2 - pz**2)
    rest, pdg_id = four_lepton_decays(mass, rng)
    decays = boosted(rest, momentum).reshape(-1, 4)
    pt = np.hypot(decays[:, 1], decays[:, 2])
    return Leptons(
        np.repeat(particles.event[bosons], 4),
        pdg_id.reshape(-1),
        pt,
        np.arcsinh(decays[:, 3] / pt),
        np.arctan2(decays[:, 2], decays[:, 1]),
    )


def _mini(
    true: Leptons,
    n_events: int,
    rng: np.random.Generator,
    *,
    weight: float,
    first: int,
) -> Columns:
    """Return the branches of the events with a trigger and four leptons or more."""
    leptons, triggered = measured(true, n_events, rng)
    counts = np.bincount(leptons.event, minlength=n_events)
    keep = (counts >= _N_LEPTONS) & (triggered[ELECTRON] | triggered[MUON])
    n_kept = int(keep.sum())
    of_kept = leptons.taken(keep[leptons.event])
    pt = rounded(of_kept.pt * _MEV_IN_GEV, _BITS["pt"])
    eta = rounded(of_kept.eta, _BITS["eta"])
    as_stored = Leptons(
        of_kept.event,
        of_kept.pdg_id,
        pt.astype(np.float64) / _MEV_IN_GEV,
        eta.astype(np.float64),
        of_kept.phi,
    )
    constants: dict[str, NDArray[np.generic]] = {
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
