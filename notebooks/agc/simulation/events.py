"""From generated particles to skimmed NanoAOD columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from agc.simulation.generator import detector_rng, generate, pythia_seed
from agc.simulation.genpart import genparts
from agc.simulation.jets import cluster, reconstruct
from agc.simulation.leptons import electrons, muons
from agc.simulation.nanoaod import Columns, collection_columns
from agc.simulation.particles import Particles, particles_of
from agc.simulation.processes import Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Batch", "simulate_batch", "skim"]

#: What the analysis asks for, and so what the skim must keep.
MIN_JETS = 4


@dataclass(frozen=True)
class Batch:
    """The events of one batch that the skim kept."""

    columns: Columns
    """NanoAOD columns."""

    generated: int
    """How many events were generated for them."""


def _counts(
    event: NDArray[np.int64], mask: NDArray[np.bool_], n_events: int
) -> NDArray[np.int64]:
    return np.bincount(event[mask], minlength=n_events)


def skim(
    n_loose_leptons: NDArray[np.int64], n_good_jets: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return which events are kept.

    Parameters
    ----------
    n_loose_leptons
        Electrons (at least loose) and muons (relative isolation below 0.25) above
        25 GeV in each event.
    n_good_jets
        Jets above 25 GeV inside |eta| < 2.4 that are not leptons.

    Returns
    -------
    numpy.ndarray of bool
        At least one lepton and four jets. Every event that passes the analysis passes
        this, for the nominal jets, for jets scaled by 1.03, and for a jet resolution of
        5 % up to four standard deviations.
    """
    return (n_loose_leptons >= 1) & (n_good_jets >= MIN_JETS)


def _detect(
    particles: Particles, rng: np.random.Generator, *, truth: bool
) -> tuple[NDArray[np.int64], Columns]:
    """Reconstruct a batch; return the kept events' numbers and their columns."""
    n_events = particles.n_events
    found = {"Electron": electrons(particles, rng), "Muon": muons(particles, rng)}
    n_loose = sum(
        (_counts(some.event, some.loose, n_events) for some in found.values()),
        start=np.zeros(n_events, dtype=np.int64),
    )
    # Clustering is the expensive part, and most events have no lepton.
    jets = reconstruct(cluster(particles, n_loose >= 1), rng)
    keep = skim(n_loose, _counts(jets.event, jets.good, n_events))
    collections = {
        **{name: (some.event, some.columns) for name, some in found.items()},
        "Jet": (jets.event, jets.columns),
    }
    if truth:
        true = genparts(particles)
        collections["GenPart"] = (true.event, true.columns)
    columns: Columns = {}
    for name, (event, values) in collections.items():
        columns |= collection_columns(name, event, values, keep)
    return np.flatnonzero(keep), columns


def simulate_batch(name: str, recipe: Recipe, batch: int) -> Batch:
    """Generate and reconstruct one batch of a sample.

    Parameters
    ----------
    name
        The sample's name, for example ``"ttbar__nominal"``.
    recipe
        How it is generated.
    batch
        The batch's number, from 0. The result depends on the first three only.

    Returns
    -------
    Batch
        ``luminosityBlock`` is the batch's number plus one; ``event`` counts the
        generated events of the whole sample from one.

    Raises
    ------
    agc.simulation.generator.GeneratorError
        Pythia does not know a setting, does not start, or stopped early.
    ModuleNotFoundError
        Pythia is not installed.
    """
    records = generate(
        recipe.settings, seed=pythia_seed(name, batch), n_events=recipe.batch_size
    )
    kept, columns = _detect(
        particles_of(records), detector_rng(name, batch), truth=recipe.truth
    )
    numbers: Columns = {
        "run": np.ones(len(kept), dtype=np.uint32),
        "luminosityBlock": np.full(len(kept), batch + 1, dtype=np.uint32),
        "event": (batch * recipe.batch_size + kept + 1).astype(np.uint64),
    }
    return Batch(numbers | columns, recipe.batch_size)
