"""The AGC's own catalog of its inputs: fetched once, checked, kept."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import urllib.request
from pathlib import Path
from typing import TypeAlias

from agc.errors import CatalogError
from agc.inputs.samples import SAMPLES

__all__ = ["TIMEOUT_S", "Catalog", "cache_folder", "fetch_catalog", "parse_catalog"]

#: Dataset name -> path or URL of each file -> its number of generated events.
Catalog: TypeAlias = dict[str, dict[str, int]]

#: The catalog as the AGC reference implementation had it at a commit, and its sha256.
CATALOG_URL = (
    "https://raw.githubusercontent.com/iris-hep/analysis-grand-challenge/"
    "c37bf59/analyses/cms-open-data-ttbar/nanoaod_inputs.json"
)
CATALOG_SHA256 = "84704916322c6eb48b2f21ff7ef305ffd36aed132be5f43f1f48343cb5ef283f"

#: Longest wait for one answer of the server, in seconds.
TIMEOUT_S = 20.0


def parse_catalog(text: str) -> Catalog:
    """Read the AGC's list of files.

    Parameters
    ----------
    text
        JSON: process -> variation -> ``files``, each with ``path`` and ``nevts``.

    Returns
    -------
    Catalog
        For all nine samples, in the list's order.

    Raises
    ------
    CatalogError
        It is not such a list, or lacks a sample; the message says what.
    """
    try:
        listed = json.loads(text)
        catalog = {
            sample.name: {
                str(file["path"]): int(file["nevts"])
                for file in listed[sample.process][sample.variation]["files"]
            }
            for sample in SAMPLES
        }
    except (ValueError, KeyError, TypeError) as error:
        msg = f"this is not the AGC's catalog ({type(error).__name__}: {error})"
        raise CatalogError(msg) from error
    empty = [name for name, files in catalog.items() if not files]
    if empty:
        msg = f"the catalog lists no file for {', '.join(empty)}"
        raise CatalogError(msg)
    return catalog


def fetch_catalog(
    url: str = CATALOG_URL,
    *,
    sha256: str = CATALOG_SHA256,
    cache: Path | None = None,
    timeout: float = TIMEOUT_S,
) -> Catalog:
    """Return the AGC's catalog, from the cache or from upstream.

    Parameters
    ----------
    url
        Where it is published, at a fixed commit.
    sha256
        What its content must be.
    cache
        Folder to keep it in; by default ``$XDG_CACHE_HOME/casa-env``.
    timeout
        Longest wait for the server, in seconds.

    Returns
    -------
    Catalog
        As `parse_catalog`.

    Raises
    ------
    CatalogError
        Neither cached nor reachable, or the content is another one.
    """
    kept = (cache or cache_folder()) / f"nanoaod_inputs-{sha256[:16]}.json"
    try:
        content = kept.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() == sha256:
        return parse_catalog(content.decode())
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:  # noqa: S310 - a constant, or the caller's choice
            content = answer.read()
    except OSError as error:
        msg = (
            f"the AGC's catalog cannot be fetched from {url} ({error}). Without a "
            "network use N_FILES = 0: the simulated stand-in, which is in this "
            "repository"
        )
        raise CatalogError(msg) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        msg = f"{url} has sha256 {found} instead of {sha256}: it is not used"
        raise CatalogError(msg)
    _keep(content, kept)
    return parse_catalog(content.decode())


def cache_folder() -> Path:
    """Return the folder for what is fetched: ``$XDG_CACHE_HOME/casa-env``."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "casa-env"


def _keep(content: bytes, kept: Path) -> None:
    """Write the cache file whole or not at all; a cache that cannot be is left out."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=kept.parent, delete=False) as partial:
            partial.write(content)
        Path(partial.name).replace(kept)
    except OSError:
        return
