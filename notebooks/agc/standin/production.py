"""Many batches on several processes, merged in order, written at once, and listed.

The manifest beside the files has their counts, seeds, settings and checksums.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

from agc.hzz import samples as hzz_samples
from agc.inputs import samples
from agc.standin.events import Events, hzz_batch, ttbar_batch
from agc.standin.files import (
    MINI,
    NANOAOD,
    Layout,
    concatenated,
    content_digest,
    root_bytes,
)
from agc.standin.generator import covered_fraction, generator_version
from agc.standin.recipes import BASE_SEED, COMMON, HZZ, PSEUDODATA, TTBAR, Recipe

__all__ = [
    "MANIFEST",
    "TASKS",
    "Task",
    "file_digest",
    "hzz_normalisation",
    "produce",
    "read_manifest",
    "save",
    "scaled",
    "ttbar_normalisation",
]

#: The manifest's name in the folder of the files.
MANIFEST = "manifest.json"

_SEEDS = (
    "SeedSequence(base_seed, spawn_key=(crc32(sample name), batch, purpose)); "
    "purpose 0: Pythia, first 32-bit word modulo 900000000 plus 1; "
    "purpose 1: detector, Philox; "
    "luminosityBlock is the batch plus 1"
)


Simulate: TypeAlias = Callable[[str, Recipe, int], Events]


@dataclass(frozen=True)
class Task:
    """The samples of one analysis task, and how they are made."""

    folder: str
    """Where in the folder of all inputs they are."""

    layout: Layout
    """How the files name things."""

    recipes: Mapping[str, Recipe]
    """By sample."""

    simulate: Simulate
    """Makes one batch; a function that other processes can import."""

    normalisation: Callable[[str, Recipe, int], dict[str, float]]
    """Returns what turns events into yields, from how many were generated."""


def ttbar_normalisation(name: str, recipe: Recipe, generated: int) -> dict[str, float]:
    """Return the count to normalise with, ``nevts``, and the cross-section.

    It is the number of generated events, or, where the sample covers a part of its
    process, of the inclusive events they stand for.
    """
    fraction = covered_fraction(recipe)
    return {
        "nevts": round(generated / fraction),
        "covered_fraction": round(fraction, 6),
        "xsec_pb": samples.sample_named(name).xsec_pb,
    }


def hzz_normalisation(name: str, recipe: Recipe, generated: int) -> dict[str, float]:
    """Return the sum of weights to normalise with, and the cross-section.

    It stands in the place of the public sample's: the sum for the events that its whole
    cross-section would give. Pseudo-data have a luminosity instead.
    """
    if name == PSEUDODATA:
        return {"lumi_pb": hzz_samples.LUMI_PB}
    xsec_pb = hzz_samples.sample_named(name).xsec_pb
    sumw = generated * xsec_pb / recipe.xsec_pb
    return {"sumw": round(sumw, 3), "xsec_pb": xsec_pb}


TASKS = (
    Task(".", NANOAOD, TTBAR, ttbar_batch, ttbar_normalisation),
    Task("hzz", MINI, HZZ, hzz_batch, hzz_normalisation),
)


def scaled(recipe: Recipe, scale: float) -> Recipe:
    """Return a recipe with more or fewer batches, the first of which are the same."""
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


def _code_digest() -> str:
    """Return what tells one state of the code, and of Pythia, from another."""
    digest = hashlib.sha256(generator_version().encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _made(
    kept: Path | None, simulate: Simulate, name: str, recipe: Recipe, batch: int
) -> Events:
    """Return a batch, from the folder of earlier runs where it is there."""
    from joblib import Memory  # type: ignore[import-untyped]  # it has no types

    events: Events = Memory(kept, verbose=0).cache(simulate)(name, recipe, batch)
    return events


def produce(
    task: Task, *, workers: int, batches: Path | None = None
) -> Generator[tuple[str, int, Events | None], None, None]:
    """Simulate a task's samples on some processes, which change nothing in the result.

    Finished batches are kept in a folder ``batches``, if there is one, and not made
    again by the same code; a finished sample's are removed.

    Yields, for each batch that is finished, its sample's name, how many events were
    followed in it, and, with a sample's last batch, the sample.
    """
    folder = batches and batches / _code_digest()
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_quiet_worker
    ) as pool:
        places = {
            pool.submit(
                _made, folder and folder / name, task.simulate, name, recipe, batch
            ): (name, batch)
            for name, recipe in task.recipes.items()
            for batch in range(recipe.batches)
        }
        done: dict[str, dict[int, Events]] = {name: {} for name in task.recipes}
        try:
            for future in as_completed(places):
                name, batch = places.pop(future)
                done[name][batch] = future.result()
                followed = task.recipes[name].batch_size
                if len(done[name]) < task.recipes[name].batches:
                    yield name, followed, None
                    continue
                parts = [part for _, part in sorted(done.pop(name).items())]
                sample = Events(
                    concatenated(part.columns for part in parts),
                    sum(part.generated for part in parts),
                )
                yield name, followed, sample
                if folder:
                    shutil.rmtree(folder / name)
        finally:
            pool.shutdown(cancel_futures=True)


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is there completely or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save(task: Task, name: str, sample: Events, folder: Path) -> dict[str, Any]:
    """Write a sample's file, enter it into the folder's manifest; return its entry."""
    recipe, path = task.recipes[name], folder / f"{name}.root"
    _replace(path, root_bytes(sample.columns, task.layout))
    entry = {
        "file": path.name,
        "generated": sample.generated,
        "kept": sample.kept,
        **task.normalisation(name, recipe, sample.generated),
        "process": recipe.summary,
        "settings": list(recipe.settings),
        "batches": recipe.batches,
        "batch_size": recipe.batch_size,
        "size_bytes": path.stat().st_size,
        "sha256": file_digest(path),
        "content_sha256": content_digest(sample.columns),
    }
    entries = read_manifest(folder)["samples"] | {name: entry}
    content = {
        "label": task.layout.label,
        "generator": {"name": "Pythia 8 (pythia8mc)", "version": generator_version()},
        "common_settings": list(COMMON),
        "base_seed": BASE_SEED,
        "seeds": _SEEDS,
        "samples": dict(sorted(entries.items())),
    }
    text = json.dumps(content, indent=2) + "\n"
    _replace(folder / MANIFEST, text.encode())
    return entry


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder; without samples where there is none yet."""
    path = folder / MANIFEST
    if not path.exists():
        return {"samples": {}}
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as err:
        msg = f"{path} is not JSON ({err}): remove it and generate the samples again"
        raise ValueError(msg) from err
    return content
