"""Which files to read: ATLAS's own, or the stand-in that ships with the notebooks."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agc.errors import CatalogError
from agc.hzz.catalog import fetch_file, kept_file, verified
from agc.hzz.samples import DATA, SAMPLES, SIMULATED

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

#: What lists the files of a stand-in, with their sums of weights.
MANIFEST = "manifest.json"

_log = logging.getLogger(__name__)

#: The simulated stand-in that is shipped with the notebooks.
STANDIN_FOLDER = Path(__file__).resolve().parents[2] / "inputs" / "hzz"
#: Where the public files are looked for beside the repository.
SHARED_FOLDER = (
    Path(__file__).resolve().parents[4] / "shared" / "data" / "atlas-open-data-4lep"
)
#: Longest wait for a server that nobody asked for, in seconds.
_ASIDE_TIMEOUT_S = 5.0

#: ``"auto"``: collision data from wherever they can be had, simulation from the
#: stand-in. ``"catalog"``: all of it from the public catalog. ``"standin"``: nothing
#: that does not ship with the notebooks.
Source = Literal["auto", "catalog", "standin"]


@dataclass(frozen=True)
class Inputs:
    """Files, how they are normalised, and whose they are."""

    files: dict[str, str]
    """Path by dataset; the names are those of `agc.hzz.samples.SAMPLES`."""

    sumw: dict[str, float]
    """Sum of weights by dataset, where it is not that of the public file."""

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


def hzz_inputs(source: Source = "auto") -> Inputs:
    """Return the inputs of the HZZ task.

    Parameters
    ----------
    source
        Where from; see `Source`. With ``"auto"`` the four small files of collision data
        are taken from beside the repository, from the cache, or from the network, and
        replaced by the stand-in where there is none of these.

    Returns
    -------
    Inputs
        Collision data or their stand-in, and simulated samples.

    Raises
    ------
    CatalogError
        A public file cannot be had with ``"catalog"``, the stand-in is not complete, or
        there is no such source.

    Notes
    -----
    The same on a laptop, on Binder and at a facility: which of them it is shows in the
    label only.
    """
    if source == "catalog":
        files = {sample.name: str(fetch_file(sample)) for sample in SAMPLES}
        return Inputs(files, {}, real_data=True, real_simulation=True)
    if source not in ("auto", "standin"):
        msg = f'source={source!r}: use "auto", "catalog" or "standin"'
        raise CatalogError(msg)
    data = collision_data() if source == "auto" else {}
    simulated, sumw = standin_simulation()
    return Inputs(
        (data or standin_data()) | simulated,
        sumw,
        real_data=bool(data),
        real_simulation=False,
    )


def collision_data(
    shared: Path = SHARED_FOLDER,
    *,
    cache: Path | None = None,
    timeout: float = _ASIDE_TIMEOUT_S,
) -> dict[str, str]:
    """Return ATLAS's collision data, or nothing where they cannot be had.

    Parameters
    ----------
    shared
        A folder that may have them; checked like a download.
    cache
        Where downloads are kept, as for `agc.hzz.catalog.fetch_file`.
    timeout
        Longest wait for an answer of the server, in seconds.

    Returns
    -------
    dict of str to str
        Path by dataset: all four periods, or none.
    """
    periods = [sample for sample in SAMPLES if sample.process == DATA]
    for place in (
        {sample.name: shared / sample.file for sample in periods},
        {sample.name: kept_file(sample, cache) for sample in periods},
    ):
        if all(verified(path) for path in place.values()):
            return {name: str(path) for name, path in place.items()}
    try:
        return {
            sample.name: str(
                fetch_file(sample, cache=cache, timeout=timeout, longest=4 * timeout)
            )
            for sample in periods
        }
    except CatalogError as error:
        _log.info("the stand-in replaces the collision data: %s", error)
        return {}


def standin_data(folder: Path = STANDIN_FOLDER) -> dict[str, str]:
    """Return the pseudo-data that stand for the collision data.

    Parameters
    ----------
    folder
        Where the stand-in is.

    Returns
    -------
    dict of str to str
        One file, in the place of the first period.
    """
    return {"data_A": str(folder / "data_standin.root")}


def standin_simulation(
    folder: Path = STANDIN_FOLDER,
) -> tuple[dict[str, str], dict[str, float]]:
    """Return the simulated samples of the stand-in.

    Parameters
    ----------
    folder
        Where its files and the manifest are.

    Returns
    -------
    files : dict of str to str
        Path by dataset; there is no Z+jets, no ttbar and no ZH.
    sumw : dict of str to float
        The sums of weights to normalise with.

    Raises
    ------
    CatalogError
        The manifest is missing, or lacks the ZZ or the ggH sample.
    """
    try:
        listed = json.loads((folder / MANIFEST).read_text())["samples"]
        there = [s.name for s in SIMULATED if s.name in listed]
        sumw = {name: float(listed[name]["sumw"]) for name in there}
        files = {name: str(folder / listed[name]["file"]) for name in there}
        missing = {"llll", "ggH125_ZZ4lep"} - files.keys()
    except (OSError, ValueError, KeyError) as error:
        msg = (
            f"the stand-in's {folder / MANIFEST} cannot be used "
            f"({type(error).__name__}: {error}): get the file back with git"
        )
        raise CatalogError(msg) from error
    if missing:
        msg = (
            f"the stand-in in {folder} lacks {', '.join(sorted(missing))}: get the "
            "files back with git, or make them anew: make sample"
        )
        raise CatalogError(msg)
    return files, sumw
