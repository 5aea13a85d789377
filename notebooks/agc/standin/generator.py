"""One batch of Pythia's events as flat arrays, and which of its particles matter.

Seeds depend on nothing but a batch's place: batch k of a sample has its own generator,
initialised afresh, and comes out the same alone, in any order and on any number of
processes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.standin.recipes import BASE_SEED, COMMON, Recipe

if TYPE_CHECKING:
    from collections.abc import Iterable

    import awkward as ak
    from numpy.typing import NDArray

__all__ = [
    "GeneratorError",
    "Particles",
    "activity",
    "covered_fraction",
    "detector_rng",
    "first_ancestor",
    "generate",
    "generate_leptonic",
    "generator_version",
    "has_quark",
    "is_last_copy",
    "is_last_parton",
    "is_weakly_decaying",
    "neighbours",
    "pythia_seed",
    "visible",
]

#: Pythia accepts seeds from 1 to this number.
_MAX_SEED = 900_000_000
#: Events that measure a cross-section; its relative precision is then about 0.3 %.
_CROSS_SECTION_EVENTS = 40_000
#: The edge of the forward calorimeter.
_ABS_ETA_MAX = 5.0
_NEUTRINOS = (12, 14, 16)
#: First and last code of the charged leptons and neutrinos.
_LEPTONS = (11, 16)
_GLUON, _BOTTOM = 21, 5
#: The first codes of hadrons, and of those with three quarks.
_HADRONS, _BARYONS = 100, 1000


class GeneratorError(RuntimeError):
    """Pythia refused its settings or failed to generate an event."""


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


def _sequence(name: str, batch: int, purpose: int) -> np.random.SeedSequence:
    key = (zlib.crc32(name.encode()), batch, purpose)
    return np.random.SeedSequence(BASE_SEED, spawn_key=key)


def pythia_seed(name: str, batch: int) -> int:
    """Return the seed of Pythia, from 1 to 900,000,000, for a batch of a sample."""
    return int(_sequence(name, batch, 0).generate_state(1)[0]) % _MAX_SEED + 1


def detector_rng(name: str, batch: int) -> np.random.Generator:
    """Return the detector's random numbers: counter-based, independent by batch."""
    return np.random.Generator(np.random.Philox(_sequence(name, batch, 1)))


def generator_version() -> str:
    """Return the version of the installed Pythia package."""
    from importlib.metadata import version

    return version("pythia8mc")


def _pythia(settings: Iterable[str], seed: int, hooks: object = None):  # type: ignore[no-untyped-def]  # noqa: ANN202  # pythia8mc has no types
    try:
        import pythia8mc
    except ModuleNotFoundError as err:
        msg = "the generator needs Pythia 8: pip install pythia8mc==8.317.2"
        raise ModuleNotFoundError(msg) from err

    pythia = pythia8mc.Pythia("", False)  # noqa: FBT003  # the C++ signature has no names
    for line in (*COMMON, *settings, "Random:setSeed = on", f"Random:seed = {seed}"):
        if not pythia.readString(line):
            msg = f"Pythia {generator_version()} does not know the setting {line!r}"
            raise GeneratorError(msg)
    if hooks is not None:
        pythia.setUserHooksPtr(hooks)
    if not pythia.init():
        msg = f"Pythia {generator_version()} cannot start with {list(settings)}"
        raise GeneratorError(msg)
    return pythia


def _particles_of(batch: ak.Array) -> Particles:
    """Flatten the event records that Pythia's ``nextBatch`` returns."""
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


def generate(settings: Iterable[str], *, seed: int, n_events: int) -> Particles:
    """Generate events with some settings besides those of every sample."""
    return _generated(settings, seed, n_events)


def generate_leptonic(
    settings: Iterable[str], *, seed: int, n_events: int
) -> tuple[Particles, int]:
    """Generate events whose hard process, with its decays, has a lepton.

    Returns them, and how many events of any kind Pythia started for them.
    """
    import pythia8mc

    class Leptonic(pythia8mc.UserHooks):  # type: ignore[misc]  # it has no types
        """Drops other events before their showers."""

        tried = 0

        def canVetoProcessLevel(self) -> bool:  # noqa: N802  # Pythia's name
            return True

        def doVetoProcessLevel(self, process: Any) -> bool:  # noqa: ANN401, N802
            self.tried += 1
            kinds = (abs(process[i].id()) for i in range(process.size()))
            return not any(_LEPTONS[0] <= kind <= _LEPTONS[1] for kind in kinds)

    hooks = Leptonic()
    return _generated(settings, seed, n_events, hooks), hooks.tried


def _generated(
    settings: Iterable[str], seed: int, n_events: int, hooks: object = None
) -> Particles:
    batch = _pythia(settings, seed, hooks).nextBatch(n_events)
    if len(batch) != n_events:
        msg = f"Pythia generated {len(batch)} of {n_events} events with seed {seed}"
        raise GeneratorError(msg)
    return _particles_of(batch)


def _cross_section_mb(settings: Iterable[str]) -> float:
    """Return Pythia's own cross-section of a process, in mb."""
    pythia = _pythia((*settings, "PartonLevel:all = off"), seed=1)
    pythia.nextBatch(_CROSS_SECTION_EVENTS)
    return float(pythia.infoPython().sigmaGen())


def covered_fraction(recipe: Recipe) -> float:
    """Return which part of its process a sample covers, to about 0.5 %."""
    if not recipe.inclusive:
        return 1.0
    return _cross_section_mb(recipe.settings) / _cross_section_mb(recipe.inclusive)


def visible(particles: Particles) -> NDArray[np.bool_]:
    """Return which rows the detector sees: final, no neutrino, inside |eta| < 5."""
    return (
        (particles.status > 0)
        & ~np.isin(np.abs(particles.pdg_id), _NEUTRINOS)
        & (np.abs(particles.eta) < _ABS_ETA_MAX)
    )


def has_quark(pdg_id: NDArray[np.int64], quark: int) -> NDArray[np.bool_]:
    """Return which codes are hadrons whose heaviest quark is 4 (charm) or 5 (bottom).

    Source: the PDG's numbering scheme, in which the digits of the thousands and the
    hundreds name the quarks, heaviest first.
    """
    code = np.abs(pdg_id) % 10_000
    heaviest = np.where(code >= _BARYONS, code // _BARYONS, code // _HADRONS)
    of_quark: NDArray[np.bool_] = (np.abs(pdg_id) > _HADRONS) & (heaviest == quark)
    return of_quark


def _without_mothers_of(
    particles: Particles, candidates: NDArray[np.bool_], rows: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return the candidates that are not the mother of any of the rows."""
    mothers = particles.mother[rows]
    last = candidates.copy()
    last[mothers[mothers >= 0]] = False
    return last


def is_weakly_decaying(particles: Particles, quark: int) -> NDArray[np.bool_]:
    """Return which rows are hadrons of a quark that decay without passing it on."""
    of_flavour = has_quark(particles.pdg_id, quark)
    return _without_mothers_of(particles, of_flavour, of_flavour)


def is_last_parton(particles: Particles) -> NDArray[np.bool_]:
    """Return which rows are the quarks and gluons that hadronise, beams excluded."""
    kind = np.abs(particles.pdg_id)
    parton = (kind <= _BOTTOM) | (kind == _GLUON)
    return _without_mothers_of(particles, parton & (particles.pt > 0.0), parton)


def is_last_copy(particles: Particles) -> NDArray[np.bool_]:
    """Return which rows have no daughter that is the same particle."""
    mother, pdg_id = particles.mother, particles.pdg_id
    return _without_mothers_of(
        particles, np.ones(len(particles), dtype=bool), pdg_id[mother] == pdg_id
    )


def first_ancestor(particles: Particles, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the mother of each row's first copy, which is another particle; or -1."""
    ancestor = particles.mother[rows]
    own = particles.pdg_id[rows]
    while True:
        copy = (ancestor >= 0) & (particles.pdg_id[ancestor] == own)
        if not copy.any():
            return ancestor
        ancestor = np.where(copy, particles.mother[ancestor], ancestor)


def neighbours(
    particles: Particles,
    rows: NDArray[np.int64],
    others: NDArray[np.int64],
    radius: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair rows with the other rows of the same event inside a cone in (eta, phi).

    ``others`` are increasing row numbers. What is returned are positions in ``rows``,
    increasing, and row numbers; a row is not its own neighbour.
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


def activity(
    particles: Particles,
    rows: NDArray[np.int64],
    others: NDArray[np.bool_],
    radius: float,
) -> NDArray[np.float64]:
    """Return the summed pt of others in cones around rows, which do not count."""
    index, other = neighbours(particles, rows, np.flatnonzero(others), radius)
    summed: NDArray[np.float64] = np.bincount(
        index, weights=particles.pt[other], minlength=len(rows)
    ).astype(np.float64)
    return summed
