"""Public inputs: fetched once, checked, kept; and the AGC's own list of its files."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TypeAlias

from agc.errors import CatalogError
from agc.inputs.samples import SAMPLES

__all__ = ["TIMEOUT_S", "Catalog", "fetch_catalog", "fetched", "parse_catalog"]

#: Dataset name -> path or URL of each file -> its number of generated events.
Catalog: TypeAlias = dict[str, dict[str, int]]

#: The catalog as the AGC reference implementation had it at a commit, and its sha256.
CATALOG_URL = (
    "https://raw.githubusercontent.com/iris-hep/analysis-grand-challenge/"
    "c37bf59/analyses/cms-open-data-ttbar/nanoaod_inputs.json"
)
CATALOG_SHA256 = "84704916322c6eb48b2f21ff7ef305ffd36aed132be5f43f1f48343cb5ef283f"

#: Longest wait for one answer of a server, in seconds.
TIMEOUT_S = 20.0


def fetched(
    url: str,
    sha256: str | None,
    *,
    without: str,
    folder: str = "",
    cache: Path | None = None,
    timeout: float = TIMEOUT_S,
) -> Path:
    """Return a public file, from the cache or from where it is published.

    ``sha256`` is what its content must be, None where nobody has published that;
    ``without`` says in an error what to do without a network. A cache that cannot be
    written is replaced by a temporary folder.

    Raises
    ------
    CatalogError
        Neither cached nor reachable, or the content is another one.
    """
    import pooch

    pooch.get_logger().setLevel("WARNING")
    place = (cache or Path(pooch.os_cache("casa-env"))) / folder
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
    if not (place.is_dir() and os.access(place, os.W_OK)):
        place = Path(tempfile.mkdtemp(prefix="casa-env-"))
    name = url.rsplit("/", 1)[-1]
    try:
        return Path(
            pooch.retrieve(
                url,
                f"sha256:{sha256}" if sha256 else None,
                fname=f"{sha256[:16]}-{name}" if sha256 and not folder else name,
                path=place,
                # what nobody has checksums of are the large files
                downloader=pooch.HTTPDownloader(
                    timeout=timeout, progressbar=sha256 is None
                ),
            )
        )
    except ValueError as error:
        msg = f"{url} is not what was published, and not used ({error})"
        raise CatalogError(msg) from error
    except OSError as error:
        msg = f"{name} cannot be fetched from {url} ({error}). {without}"
        raise CatalogError(msg) from error


def parse_catalog(text: str) -> Catalog:
    """Read the AGC's list of files, for all nine samples in the list's order.

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
    """Return the AGC's catalog, from the cache or from where it is published."""
    without = (
        "Without a network use N_FILES = 0: the simulated stand-in, which is in this "
        "repository"
    )
    kept = fetched(url, sha256, without=without, cache=cache, timeout=timeout)
    return parse_catalog(kept.read_text(encoding="utf-8"))
