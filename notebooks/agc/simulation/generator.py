"""One batch of events from Pythia 8, with seeds that depend on nothing but its place.

Batch k of a sample has its own generator, initialised afresh: it comes out the same
alone, in any order and on any number of processes.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from agc.simulation.processes import BASE_SEED, COMMON, PhaseSpaceCut

if TYPE_CHECKING:
    from collections.abc import Iterable

    import awkward as ak

__all__ = [
    "GeneratorError",
    "covered_fraction",
    "detector_rng",
    "generate",
    "generator_version",
    "pythia_seed",
]

#: Pythia accepts seeds from 1 to this number.
_MAX_SEED = 900_000_000
#: Events that measure a cross-section; its relative precision is then about 0.3 %.
_CROSS_SECTION_EVENTS = 40_000


class GeneratorError(RuntimeError):
    """Pythia refused its settings or failed to generate an event."""


def _sequence(name: str, batch: int, purpose: int) -> np.random.SeedSequence:
    key = (zlib.crc32(name.encode()), batch, purpose)
    return np.random.SeedSequence(BASE_SEED, spawn_key=key)


def pythia_seed(name: str, batch: int) -> int:
    """Return the seed of Pythia for one batch of one sample.

    Parameters
    ----------
    name
        The sample's name, for example ``"ttbar__nominal"``.
    batch
        The batch's number, from 0.

    Returns
    -------
    int
        From 1 to 900,000,000, the range that Pythia takes.
    """
    return int(_sequence(name, batch, 0).generate_state(1)[0]) % _MAX_SEED + 1


def detector_rng(name: str, batch: int) -> np.random.Generator:
    """Return the random numbers of the detector for one batch of one sample.

    Parameters
    ----------
    name
        The sample's name, for example ``"ttbar__nominal"``.
    batch
        The batch's number, from 0.

    Returns
    -------
    numpy.random.Generator
        A counter-based stream, independent of every other batch's.
    """
    return np.random.Generator(np.random.Philox(_sequence(name, batch, 1)))


def generator_version() -> str:
    """Return the version of the installed Pythia package.

    Returns
    -------
    str
        For example ``"8.317.2"``.
    """
    from importlib.metadata import version

    return version("pythia8mc")


def _pythia(settings: Iterable[str], seed: int):  # type: ignore[no-untyped-def]  # noqa: ANN202  # pythia8mc has no types
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
    if not pythia.init():
        msg = f"Pythia {generator_version()} cannot start with {list(settings)}"
        raise GeneratorError(msg)
    return pythia


def generate(settings: Iterable[str], *, seed: int, n_events: int) -> ak.Array:
    """Generate events.

    Parameters
    ----------
    settings
        Pythia settings besides `agc.simulation.processes.COMMON`.
    seed
        Pythia's seed.
    n_events
        How many events.

    Returns
    -------
    awkward.Array
        Pythia's event records, as its ``nextBatch`` returns them; energies in GeV,
        vertices in mm.

    Raises
    ------
    GeneratorError
        Pythia does not know a setting, does not start, or stopped early.
    ModuleNotFoundError
        Pythia is not installed.
    """
    batch = _pythia(settings, seed).nextBatch(n_events)
    if len(batch) != n_events:
        msg = f"Pythia generated {len(batch)} of {n_events} events with seed {seed}"
        raise GeneratorError(msg)
    return batch


def _cross_section_mb(settings: Iterable[str], *, seed: int) -> float:
    """Return Pythia's own cross-section of a process, in mb."""
    pythia = _pythia((*settings, "PartonLevel:all = off"), seed)
    pythia.nextBatch(_CROSS_SECTION_EVENTS)
    return float(pythia.infoPython().sigmaGen())


def covered_fraction(cut: PhaseSpaceCut) -> float:
    """Return which part of the whole process a sample with a cut covers.

    Parameters
    ----------
    cut
        The process with the cut and without it.

    Returns
    -------
    float
        The ratio of Pythia's cross-sections, to about 0.5 %.

    Raises
    ------
    GeneratorError
        Pythia does not know a setting or does not start.
    ModuleNotFoundError
        Pythia is not installed.
    """
    return _cross_section_mb(cut.generated, seed=1) / _cross_section_mb(
        cut.inclusive, seed=1
    )
