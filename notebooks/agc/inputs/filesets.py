"""Which files to read: the simulated stand-in, or the AGC's own inputs."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from agc.errors import CatalogError, UnknownProcessError, UnreadableFileError
from agc.inputs.catalog import Catalog, fetch_catalog
from agc.inputs.samples import LUMI_PB, SAMPLES, Sample

__all__ = [
    "STANDIN_FOLDER",
    "TREE",
    "Dataset",
    "Fileset",
    "catalog_fileset",
    "event_weight",
    "fileset_label",
    "generated_events",
    "in_halves",
    "require_entries",
    "sample_table",
    "standin_fileset",
    "ttbar_fileset",
]

TREE = "Events"

#: The simulated stand-in that is shipped with the notebooks.
STANDIN_FOLDER = Path(__file__).resolve().parents[2] / "inputs"


class Dataset(TypedDict):
    """One sample's entry in a fileset: what coffea reads, and counts beside it."""

    files: dict[str, str]
    """Path or URL of each file, and the name of the tree in it."""
    metadata: dict[str, Any]
    """``process``, ``variation`` and ``xsec_pb``; ``sumw`` where events are generated
    with weights; ``halved`` where `in_halves` is to make two datasets of one."""
    nevts: dict[str, int]
    """Generated events of each file, for the normalisation."""
    entries: NotRequired[dict[str, int]]
    """Events in each file, where that is known: a file with others is not whole."""


#: Dataset name to dataset; what coffea's ``Runner`` takes.
Fileset = dict[str, Dataset]


def ttbar_fileset(n_files: int = 0) -> Fileset:
    """Return the inputs of the ttbar task, all nine samples.

    With 0 files they are the simulated stand-in of this repository, which needs no
    network; with 1 or more the first so many files of each sample of the AGC's inputs;
    with -1 all of them (787 files, 1.78 TB).

    Raises
    ------
    CatalogError
        The AGC's catalog cannot be fetched; or ``n_files`` is below -1.
    """
    if n_files < -1:
        msg = f"n_files={n_files}: use 0 for the stand-in, -1 for all files, or more"
        raise CatalogError(msg)
    if n_files == 0:
        return standin_fileset()
    return catalog_fileset(fetch_catalog(), None if n_files == -1 else n_files)


def fileset_label(n_files: int) -> str:
    """Return whose events `ttbar_fileset` gives: every plot and table says so."""
    if n_files == 0:
        return "Simulation by Casa, not CMS data"
    return "CMS Open Data 2015 simulation"


def event_weight(
    name: str,
    dataset: Mapping[str, Any],
    *,
    lumi_pb: float,
    data: str = "data",
    processed: float = math.nan,
    without: Collection[str] = (),
) -> float:
    """Return what an event's own weight is multiplied by; 1 for collisions, ``data``.

    That is cross-section x luminosity / generated events, or the sum of their weights;
    the events that were ``processed`` where that is not known. Some files may have been
    left out.

    Raises
    ------
    UnknownProcessError
        The dataset has no cross-section.
    """
    metadata = dataset["metadata"]
    if metadata["process"] == data and "half" not in metadata:
        return 1.0
    if "xsec_pb" not in metadata:
        msg = f"dataset {name!r} has no 'xsec_pb' in its metadata: its cross-section"
        raise UnknownProcessError(msg)
    generated = generated_events(dataset, without=without) or processed
    if "half" in metadata:
        generated /= 2
    return float(metadata["xsec_pb"] * lumi_pb / generated) if generated else 1.0


def in_halves(
    fileset: Mapping[str, Mapping[str, Any]], data: str
) -> dict[str, Mapping[str, Any]]:
    """Return a fileset whose ``halved`` datasets are two: by the events' numbers.

    Those with odd ones stay what they were, the others are of the process ``data``, in
    a dataset of that name and the variation's. Either half counts twice.
    """
    found = {}
    for name, dataset in fileset.items():
        metadata = dataset["metadata"]
        found[name] = dataset
        if metadata.get("halved"):
            found[name] = {**dataset, "metadata": {**metadata, "half": 1}}
            metadata = {**metadata, "half": 0, "process": data}
            other = f"{data}__{metadata['variation']}"
            found[other] = {**dataset, "metadata": metadata}
    return found


def require_entries(
    dataset: Mapping[str, Any], file: str, entries: int, *, data: str
) -> None:
    """Raise `UnreadableFileError` unless a file has the events that are listed.

    One of collisions, the process ``data``, has some: an empty one would be lost.
    """
    listed = dataset.get("entries", {}).get(file, entries)
    if listed != entries:
        cause = f"it has {entries} events, its catalog says {listed}"
        raise UnreadableFileError(file, cause)
    metadata = dataset["metadata"]
    if not entries and metadata["process"] == data and "half" not in metadata:
        raise UnreadableFileError(file, "there are no collisions in it")


def generated_events(
    dataset: Mapping[str, Any], *, without: Collection[str] = ()
) -> float:
    """Return a dataset's generated events, or the sum of their weights; 0: not said.

    ``sumw`` or ``nevts``, in the metadata or beside them, is one number, or one for
    each file, of which some may be left out.
    """
    for kind in ("sumw", "nevts"):
        counts = dataset.get(kind) or dataset["metadata"].get(kind)
        if isinstance(counts, Mapping):
            counts = sum(n for file, n in counts.items() if file not in without)
        if counts:
            return float(counts)
    return 0.0


def sample_table(
    fileset: Fileset, *, lumi_pb: float = LUMI_PB
) -> list[dict[str, str | int | float]]:
    """Return one row for each dataset: files, events, cross-section and weight.

    Events are those that were generated, or the sum of their weights; collisions have
    neither, and of other files it may not be known before they are read.
    """
    return [
        {
            "dataset": name,
            "files": len(dataset["files"]),
            "events": generated_events(dataset) or math.nan,
            "cross-section [pb]": dataset["metadata"].get("xsec_pb", math.nan),
            "event weight": event_weight(name, dataset, lumi_pb=lumi_pb),
        }
        for name, dataset in fileset.items()
    ]


def standin_fileset(folder: Path = STANDIN_FOLDER) -> Fileset:
    """Return the simulated stand-in, one file for each sample: not CMS data.

    Raises
    ------
    CatalogError
        The manifest is missing or does not list a sample.
    """
    manifest = folder / "manifest.json"
    try:
        listed = json.loads(manifest.read_text())["samples"]
        fileset = {}
        for sample in SAMPLES:
            about = listed[sample.name]
            file = str(folder / about["file"])
            # only events that could be selected were kept of those generated
            counts = {file: int(about["nevts"])}, {file: int(about["kept"])}
            fileset[sample.name] = _dataset(sample, *counts)
            # so few events must not be both pseudo-data and what these are fitted with
            halved = sample.variation in {"ME_var", "PS_var"}
            fileset[sample.name]["metadata"]["halved"] = halved
    except (OSError, ValueError, KeyError) as error:
        msg = (
            f"the stand-in's {manifest} cannot be used ({type(error).__name__}: "
            f"{error}): get the file back with git, or make it anew: make sample"
        )
        raise CatalogError(msg) from error
    return fileset


def catalog_fileset(catalog: Catalog, n_files: int | None = None) -> Fileset:
    """Return the first files of each sample of a catalog; None for all."""
    first = {s: dict(list(catalog[s.name].items())[:n_files]) for s in SAMPLES}
    # the AGC's files hold every event that was generated
    return {s.name: _dataset(s, counts, counts) for s, counts in first.items()}


def _dataset(sample: Sample, nevts: dict[str, int], entries: dict[str, int]) -> Dataset:
    return {
        "files": dict.fromkeys(nevts, TREE),
        "metadata": {
            "process": sample.process,
            "variation": sample.variation,
            "xsec_pb": sample.xsec_pb,
        },
        "nevts": nevts,
        "entries": entries,
    }
