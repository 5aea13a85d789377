"""Many batches on several processes, merged in order and written at once."""

from __future__ import annotations

import math
import os
import signal
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, TypeVar

from agc.simulation.events import Batch, simulate_batch
from agc.simulation.nanoaod import Columns, concatenated
from agc.simulation.processes import Recipe
from agc.simulation.rootfile import NANOAOD, Layout, root_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

__all__ = ["Sample", "produce", "save", "scaled"]

AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


@dataclass(frozen=True)
class Sample:
    """One finished sample."""

    columns: Columns
    """Columns of the events that were kept, in the order of the batches."""

    generated: int
    """How many events were generated."""

    @property
    def kept(self) -> int:
        """The number of events in the file."""
        return len(next(iter(self.columns.values())))


def scaled(recipe: AnyRecipe, scale: float) -> AnyRecipe:
    """Return a recipe for a larger or smaller sample.

    Parameters
    ----------
    recipe
        What the shipped sample is made with.
    scale
        Factor on the number of batches; at least one batch remains. The first batches
        are the same at every scale.

    Returns
    -------
    Recipe
        The same process.

    Raises
    ------
    ValueError
        The factor is not positive.
    """
    if not scale > 0:
        msg = f"a sample's scale must be positive, not {scale}"
        raise ValueError(msg)
    return replace(recipe, batches=max(1, math.ceil(recipe.batches * scale)))


def _quiet_worker() -> None:
    """Leave Ctrl-C to the parent, and keep the libraries' banners off its terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def produce(
    recipes: Mapping[str, AnyRecipe],
    *,
    workers: int,
    simulate: Callable[[str, AnyRecipe, int], Batch] = simulate_batch,
) -> Generator[tuple[str, int, Sample | None], None, None]:
    """Simulate samples, batch by batch.

    Parameters
    ----------
    recipes
        What to simulate: sample name to recipe.
    workers
        Number of processes. The result does not depend on it.
    simulate
        Makes one batch from the sample's name, its recipe and the batch's number; a
        function that other processes can import.

    Yields
    ------
    name : str
        The sample that a batch was finished of.
    generated : int
        The number of generated events in that batch.
    sample : Sample or None
        The sample, with its last batch; None before.

    Raises
    ------
    agc.simulation.generator.GeneratorError
        Pythia does not know a setting, does not start, or stopped early.
    """
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_quiet_worker
    ) as pool:
        places = {
            pool.submit(simulate, name, recipe, batch): (name, batch)
            for name, recipe in recipes.items()
            for batch in range(recipe.batches)
        }
        done: dict[str, dict[int, Batch]] = {name: {} for name in recipes}
        try:
            for future in as_completed(places):
                name, batch = places.pop(future)
                done[name][batch] = future.result()
                generated = done[name][batch].generated
                if len(done[name]) < recipes[name].batches:
                    yield name, generated, None
                    continue
                batches = [part for _, part in sorted(done.pop(name).items())]
                yield (
                    name,
                    generated,
                    Sample(
                        concatenated(part.columns for part in batches),
                        sum(part.generated for part in batches),
                    ),
                )
        finally:
            pool.shutdown(cancel_futures=True)


def save(sample: Sample, path: Path, layout: Layout = NANOAOD) -> None:
    """Write a sample's file so that it is there completely or not at all.

    Parameters
    ----------
    sample
        A finished sample.
    path
        The file; its folder must exist.
    layout
        How tree and counts are named.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(root_bytes(sample.columns, layout))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
