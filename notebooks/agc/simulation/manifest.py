"""What was made: counts, seeds, settings and checksums beside the files."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from agc.inputs.samples import sample_named
from agc.simulation.generator import covered_fraction, generator_version
from agc.simulation.nanoaod import content_digest
from agc.simulation.processes import BASE_SEED, COMMON, Recipe
from agc.simulation.rootfile import LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from agc.simulation.production import Sample

__all__ = [
    "MANIFEST",
    "describe",
    "described",
    "file_digest",
    "read_manifest",
    "update",
]

#: The manifest's name in the folder of the files.
MANIFEST = "manifest.json"

_SEEDS = (
    "SeedSequence(base_seed, spawn_key=(crc32(sample name), batch, purpose)); "
    "purpose 0: Pythia, first 32-bit word modulo 900000000 plus 1; "
    "purpose 1: detector, Philox; "
    "luminosityBlock is the batch plus 1"
)


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    str
        64 digits.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(name: str, recipe: Recipe, sample: Sample, path: Path) -> dict[str, Any]:
    """Return the manifest's entry of one sample.

    Parameters
    ----------
    name
        The sample's name.
    recipe
        How it was generated.
    sample
        The events.
    path
        Where they were written.

    Returns
    -------
    dict
        ``nevts`` is the count to normalise with: the number of generated events, or,
        where the process has a phase-space cut, of the inclusive events they stand
        for. An event's weight is ``xsec_pb`` times the luminosity over ``nevts``.

    Raises
    ------
    agc.simulation.generator.GeneratorError
        Pythia could not compute the fraction that a cut leaves.
    """
    fraction = 1.0 if recipe.cut is None else covered_fraction(recipe.cut)
    normalisation = {
        "nevts": round(sample.generated / fraction),
        "covered_fraction": round(fraction, 6),
        "xsec_pb": sample_named(name).xsec_pb,
    }
    return described(recipe, sample, path, normalisation)


def described(
    recipe: Recipe, sample: Sample, path: Path, normalisation: Mapping[str, float]
) -> dict[str, Any]:
    """Return the manifest's entry of one sample of any task.

    Parameters
    ----------
    recipe, sample, path
        As for `describe`.
    normalisation
        What a task needs to turn events into yields.

    Returns
    -------
    dict
        Counts, normalisation, settings and checksums.
    """
    return {
        "file": path.name,
        "generated": sample.generated,
        "kept": sample.kept,
        **normalisation,
        "process": recipe.summary,
        "settings": list(recipe.settings),
        "batches": recipe.batches,
        "batch_size": recipe.batch_size,
        "size_bytes": path.stat().st_size,
        "sha256": file_digest(path),
        "content_sha256": content_digest(sample.columns),
    }


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder of samples.

    Parameters
    ----------
    folder
        Where the files are.

    Returns
    -------
    dict
        Its content; without samples where there is no manifest yet.

    Raises
    ------
    ValueError
        The manifest is not JSON.
    """
    path = folder / MANIFEST
    if not path.exists():
        return {"samples": {}}
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except json.JSONDecodeError as err:
        msg = f"{path} is not JSON ({err}): remove it and generate the samples again"
        raise ValueError(msg) from err
    return content


def update(
    folder: Path, entries: Mapping[str, dict[str, Any]], *, label: str = LABEL
) -> None:
    """Enter samples into the manifest of a folder.

    Parameters
    ----------
    folder
        Where the files are.
    entries
        What `describe` returns, by sample name; other samples' entries stay.
    label
        Whose events these are.

    Raises
    ------
    ValueError
        There is a manifest that is not JSON.
    """
    samples = read_manifest(folder)["samples"] | dict(entries)
    content = {
        "label": label,
        "generator": {"name": "Pythia 8 (pythia8mc)", "version": generator_version()},
        "common_settings": list(COMMON),
        "base_seed": BASE_SEED,
        "seeds": _SEEDS,
        "samples": dict(sorted(samples.items())),
    }
    temporary = folder / f".{MANIFEST}.part"
    try:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        temporary.replace(folder / MANIFEST)
    finally:
        temporary.unlink(missing_ok=True)
