"""What the commands that make stand-in samples share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic

from agc.simulation.events import Batch
from agc.simulation.generator import generator_version
from agc.simulation.manifest import MANIFEST, update
from agc.simulation.production import AnyRecipe, Sample, produce, save, scaled
from agc.simulation.rootfile import Layout

__all__ = ["Task", "run"]

_INTERRUPTED = 130

_say = print  # a command line prints


@dataclass(frozen=True)
class Task(Generic[AnyRecipe]):
    """The samples of one analysis task, and how they are made."""

    program: str
    """What the user types."""

    name: str
    """The task's name."""

    folder: Path
    """Where the shipped samples are."""

    recipes: Mapping[str, AnyRecipe]
    """By sample."""

    simulate: Callable[[str, AnyRecipe, int], Batch]
    """Makes one batch."""

    describe: Callable[[str, AnyRecipe, Sample, Path], dict[str, Any]]
    """Returns a sample's entry in the manifest."""

    layout: Layout
    """How the files name things; its title says whose events they are."""


def _arguments(argv: list[str] | None, task: Task[AnyRecipe]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=task.program,
        description=f"Make the stand-in samples of the {task.name} task. "
        f"{task.layout.title}.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=task.folder,
        metavar="FOLDER",
        help="where the files go (default: %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=len(os.sched_getaffinity(0)),
        help="processes; the result does not depend on it (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=sorted(task.recipes),
        metavar="SAMPLE",
        help=f"make this sample; may be repeated: {', '.join(sorted(task.recipes))}",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="factor on the number of events (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error(f"--workers must be at least 1, not {arguments.workers}")
    if not arguments.scale > 0:
        parser.error(f"--scale must be positive, not {arguments.scale}")
    return arguments


def run(argv: list[str] | None, task: Task[AnyRecipe]) -> int:
    """Make samples and their manifest.

    Parameters
    ----------
    argv
        Arguments without the program's name; None for the process's own.
    task
        Which samples.

    Returns
    -------
    int
        The exit code: 130 after Ctrl-C, which leaves finished samples only.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]  # it has no types

    arguments = _arguments(argv, task)
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    recipes = {
        name: scaled(task.recipes[name], arguments.scale)
        for name in arguments.only or task.recipes
    }
    total = sum(recipe.batches * recipe.batch_size for recipe in recipes.values())
    _say(f"Pythia {generator_version()}, {arguments.workers} processes -> {folder}")
    try:
        with (
            tqdm(total=total, unit=" events", unit_scale=True) as bar,
            closing(
                produce(recipes, workers=arguments.workers, simulate=task.simulate)
            ) as batches,
        ):
            for name, generated, sample in batches:
                bar.set_description(name)
                bar.update(generated)
                if sample is None:
                    continue
                path = folder / f"{name}.root"
                save(sample, path, task.layout)
                entry = task.describe(name, recipes[name], sample, path)
                update(folder, {name: entry}, label=task.layout.title)
                tqdm.write(
                    f"{path.name}: {sample.kept} of {sample.generated} events, "
                    f"{entry['size_bytes'] / 1e6:.2f} MB"
                )
    except KeyboardInterrupt:
        _say("interrupted: finished samples are kept", file=sys.stderr)
        return _INTERRUPTED
    _say(f"{folder / MANIFEST}: {task.layout.title}")
    return 0
