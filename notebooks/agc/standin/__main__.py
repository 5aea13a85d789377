"""The command ``python -m agc.standin``: make the stand-in samples of both tasks."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from agc.standin.generator import generator_version
from agc.standin.production import MANIFEST, TASKS, produce, save, scaled

_INTERRUPTED = 130

_say = print  # a command line prints


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    names = sorted(name for task in TASKS for name in task.recipes)
    parser = argparse.ArgumentParser(
        prog="python -m agc.standin",
        description="Make the stand-in samples of the ttbar and the HZZ task.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parents[2] / "inputs",
        metavar="FOLDER",
        help="where the files go; those of HZZ into its folder hzz "
        "(default: %(default)s)",
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
        choices=names,
        metavar="SAMPLE",
        help=f"make this sample; may be repeated: {', '.join(names)}",
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


def main(argv: list[str] | None = None) -> int:
    """Make samples and their manifests.

    Returns 130 after Ctrl-C, which leaves finished samples, and batches that the next
    call goes on from.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]  # it has no types

    arguments = _arguments(argv)
    tasks = []
    for task in TASKS:
        chosen = {
            name: scaled(recipe, arguments.scale)
            for name, recipe in task.recipes.items()
            if name in (arguments.only or task.recipes)
        }
        if chosen:
            tasks.append(replace(task, recipes=chosen))
    recipes = [recipe for task in tasks for recipe in task.recipes.values()]
    total = sum(recipe.batches * recipe.batch_size for recipe in recipes)
    _say(
        f"Pythia {generator_version()}, {arguments.workers} processes "
        f"-> {arguments.output}"
    )
    try:
        with tqdm(total=total, unit=" events", unit_scale=True) as bar:
            for task in tasks:
                folder = arguments.output / task.folder
                folder.mkdir(parents=True, exist_ok=True)
                kept = arguments.output / ".batches"
                with closing(
                    produce(task, workers=arguments.workers, batches=kept)
                ) as batches:
                    for name, followed, sample in batches:
                        bar.set_description(name)
                        bar.update(followed)
                        if sample is None:
                            continue
                        entry = save(task, name, sample, folder)
                        tqdm.write(
                            f"{entry['file']}: {sample.kept} of {sample.generated} "
                            f"events, {entry['size_bytes'] / 1e6:.2f} MB"
                        )
    except KeyboardInterrupt:
        _say("interrupted: the same command goes on from here", file=sys.stderr)
        return _INTERRUPTED
    for task in tasks:
        _say(f"{arguments.output / task.folder / MANIFEST}: {task.layout.label}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
