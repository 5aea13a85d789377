"""Which files to read: ATLAS's own, or the stand-in that ships with the notebooks."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agc.errors import CatalogError
from agc.hzz.columns import TREE
from agc.hzz.samples import DATA, SAMPLES, Sample
from agc.inputs.catalog import TIMEOUT_S, fetched
from agc.inputs.filesets import Dataset, Fileset

__all__ = [
    "SHARED_FOLDER",
    "STANDIN_FOLDER",
    "Inputs",
    "Source",
    "collision_data",
    "hzz_inputs",
    "standin_data",
    "standin_simulation",
]

_log = logging.getLogger(__name__)

#: ATLAS Open Data at 13 TeV, four-lepton selection: record 15005 of the CERN Open Data
#: portal, under the CC0 waiver.
BASE_URL = "https://opendata.cern.ch/record/15005/files/"
#: The simulated stand-in that is shipped with the notebooks.
STANDIN_FOLDER = Path(__file__).resolve().parents[2] / "inputs" / "hzz"
#: Where the public files are looked for beside the repository.
SHARED_FOLDER = (
    Path(__file__).resolve().parents[4] / "shared" / "data" / "atlas-open-data-4lep"
)
#: The simulated samples without which there is nothing to fit.
_NEEDED = ("llll", "ggH125_ZZ4lep")
#: Longest wait for a server that nobody asked for, in seconds.
_ASIDE_TIMEOUT_S = 5.0

#: ``"auto"``: collision data from wherever they can be had, simulation from the
#: stand-in. ``"catalog"``: all of it from the public catalog. ``"standin"``: nothing
#: that does not ship with the notebooks.
Source = Literal["auto", "catalog", "standin"]


@dataclass(frozen=True)
class Inputs:
    """Files with what they are normalised by, and whose they are."""

    fileset: Fileset
    real_data: bool
    """Whether the data are collisions that ATLAS recorded."""
    real_simulation: bool
    """Whether the simulation is ATLAS's."""

    @property
    def label(self) -> str:
        """Whose events these are: every plot says so."""
        if self.real_data and self.real_simulation:
            return "ATLAS Open Data"
        if self.real_data:
            return "ATLAS Open Data; expectation simulated by Casa"
        return "Simulated by Casa, not ATLAS data"


def hzz_inputs(source: Source = "auto", folder: Path | str = "") -> Inputs:
    """Return the inputs of the HZZ task.

    With ``"auto"`` the four small files of collision data are taken from ``folder``
    (without one: from beside the repository), from the cache, or from the network, and
    replaced by the stand-in where there is none of these: the same on a laptop, on
    Binder and at a facility.

    Raises
    ------
    CatalogError
        The collision data are not in the ``folder`` that was named, a public file
        cannot be had with ``"catalog"``, the stand-in is not complete, or there is no
        such source.
    """
    if source == "catalog":
        fileset = {s.name: _dataset(s, _public_file(s)) for s in SAMPLES}
        return Inputs(fileset, real_data=True, real_simulation=True)
    if source not in ("auto", "standin"):
        msg = f'source={source!r}: use "auto", "catalog" or "standin"'
        raise CatalogError(msg)
    data = collision_data(folder) if source == "auto" else {}
    return Inputs(
        (data or standin_data()) | standin_simulation(),
        real_data=bool(data),
        real_simulation=False,
    )


def collision_data(
    folder: Path | str = "", *, timeout: float = _ASIDE_TIMEOUT_S
) -> Fileset:
    """Return ATLAS's collision data, or nothing where they cannot be had.

    A folder that has them is checked like a download; one that was named and has not
    is an error, as in `hzz_inputs`.
    """
    import pooch

    periods = [sample for sample in SAMPLES if sample.process == DATA]
    beside = {s.name: Path(folder or SHARED_FOLDER) / s.file for s in periods}
    try:
        bad = [s for s in periods if pooch.file_hash(beside[s.name]) != s.sha256]
        fault = ", ".join(s.file for s in bad) + " differ from ATLAS's"
        if not bad:
            return {s.name: _dataset(s, beside[s.name]) for s in periods}
    except OSError as error:
        fault = str(error)
    if folder:
        msg = (
            f"no collision data in {folder}: {fault}. Put data_A.4lep.root to D of "
            "CERN Open Data record 15005 there, or name no folder"
        )
        raise CatalogError(msg)
    try:
        return {s.name: _dataset(s, _public_file(s, timeout)) for s in periods}
    except CatalogError as error:
        _log.info("the stand-in replaces the collision data: %s", error)
        return {}


def standin_data(folder: Path = STANDIN_FOLDER) -> Fileset:
    """Return the pseudo-data that stand for the collision data."""
    about = _listed(folder, "data_standin")["data_standin"]
    return {"data_A": _listed_dataset(SAMPLES[0], folder, about)}


def standin_simulation(folder: Path = STANDIN_FOLDER) -> Fileset:
    """Return the simulated samples: there is no Z+jets, no ttbar and no ZH.

    Raises
    ------
    CatalogError
        The manifest is missing, or lacks the ZZ or the ggH sample.
    """
    listed = _listed(folder, *_NEEDED)
    return {
        s.name: _listed_dataset(s, folder, listed[s.name])
        for s in SAMPLES
        if s.process != DATA and s.name in listed
    }


def _listed(folder: Path, *needed: str) -> dict[str, dict[str, Any]]:
    """Return what the stand-in's manifest says of each sample."""
    manifest = folder / "manifest.json"
    try:
        listed: dict[str, dict[str, Any]] = json.loads(manifest.read_text())["samples"]
        for name in needed:
            listed[name]["file"], listed[name]["kept"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = (
            f"the stand-in's {manifest} cannot be used ({type(error).__name__}: "
            f"{error}): get the files back with git, or make them anew: make sample"
        )
        raise CatalogError(msg) from error
    return listed


def _listed_dataset(sample: Sample, folder: Path, about: dict[str, Any]) -> Dataset:
    file = folder / about["file"]
    dataset = _dataset(sample, file, about.get("sumw"))
    dataset["entries"] = {str(file): int(about["kept"])}
    return dataset


def _public_file(sample: Sample, timeout: float = TIMEOUT_S) -> Path:
    return fetched(
        BASE_URL + sample.file,
        sample.sha256,
        without='Without a network use SOURCE = "auto", which needs none',
        folder="atlas-open-data-4lep",
        timeout=timeout,
    )


def _dataset(sample: Sample, file: Path, sumw: float | None = None) -> Dataset:
    metadata = {
        "process": sample.process,
        "variation": "nominal",
        "xsec_pb": sample.xsec_pb,
    }
    if sample.process != DATA:
        metadata["sumw"] = float(sample.sumw if sumw is None else sumw)
    return {"files": {str(file): TREE}, "metadata": metadata, "nevts": {}}
