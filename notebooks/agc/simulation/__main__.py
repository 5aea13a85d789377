"""The command ``python -m agc.simulation``: make the stand-in samples."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing
from pathlib import Path

from agc.simulation.generator import generator_version
from agc.simulation.manifest import MANIFEST, describe, update
from agc.simulation.processes import RECIPES
from agc.simulation.production import produce, save, scaled
from agc.simulation.rootfile import LABEL

#: Where the shipped samples are.
INPUTS = Path(__file__).resolve().parents[2] / "inputs"
_INTERRUPTED = 130

_say = print  # a command line prints


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m agc.simulation",
        description=f"Make the stand-in samples of the ttbar task. {LABEL}.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=INPUTS,
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
        choices=sorted(RECIPES),
        metavar="SAMPLE",
        help=f"make this sample; may be repeated: {', '.join(sorted(RECIPES))}",
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
    """Make samples and their manifest.

    Parameters
    ----------
    argv
        Arguments without the program's name; the process's own by default.

    Returns
    -------
    int
        The exit code: 130 after Ctrl-C, which leaves finished samples only.
    """
    from tqdm import tqdm  # type: ignore[import-untyped]  # it has no types

    arguments = _arguments(argv)
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    recipes = {
        name: scaled(RECIPES[name], arguments.scale)
        for name in arguments.only or RECIPES
    }
    total = sum(recipe.batches * recipe.batch_size for recipe in recipes.values())
    _say(f"Pythia {generator_version()}, {arguments.workers} processes -> {folder}")
    try:
        with (
            tqdm(total=total, unit=" events", unit_scale=True) as bar,
            closing(produce(recipes, workers=arguments.workers)) as batches,
        ):
            for name, generated, sample in batches:
                bar.set_description(name)
                bar.update(generated)
                if sample is None:
                    continue
                path = folder / f"{name}.root"
                save(sample, path)
                entry = describe(name, recipes[name], sample, path)
                update(folder, {name: entry})
                tqdm.write(
                    f"{path.name}: {sample.kept} of {sample.generated} events, "
                    f"{entry['size_bytes'] / 1e6:.2f} MB"
                )
    except KeyboardInterrupt:
        _say("interrupted: finished samples are kept", file=sys.stderr)
        return _INTERRUPTED
    _say(f"{folder / MANIFEST}: {LABEL}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
