"""The public files of the HZZ task: where they are, fetched once, checked, kept."""

from __future__ import annotations

import hashlib
import time
import urllib.request
from pathlib import Path

from agc.errors import CatalogError
from agc.hzz.samples import Sample
from agc.inputs.catalog import TIMEOUT_S, cache_folder

__all__ = ["BASE_URL", "SHA256", "fetch_file", "kept_file", "verified"]

#: ATLAS Open Data at 13 TeV, four-lepton selection: record 15005 of the CERN Open Data
#: portal.
BASE_URL = "https://opendata.cern.ch/record/15005/files/"

#: Content of the files of collision data. The simulated files have no checksum that
#: could be taken from here: the one of the first download is kept beside the file.
SHA256 = {
    "data_A.4lep.root": (
        "8a0de39015dcc46ec3e65fd56234bbb8809c0fb1e16e6511a7872627bb7b6675"
    ),
    "data_B.4lep.root": (
        "198d5f06b0f24cdf08f4a3342f142aa2ed3eded3f39ea8f18fb963b681fd1411"
    ),
    "data_C.4lep.root": (
        "3f1cd0a4fca42013f718bd219a043ec4fff0b7268707ea0894f6ce379e2f0c56"
    ),
    "data_D.4lep.root": (
        "7e103be7359e402032a5dbe01d3f5105fddbcc043bce3a187993fb99f7cc6e1e"
    ),
}

#: Longest time for one file, in seconds; the largest has about 200 MB.
LONGEST_S = 1800.0
_BLOCK = 1 << 20


def verified(path: Path) -> bool:
    """Return whether a file is there and is what was published.

    Parameters
    ----------
    path
        The file, under its public name.

    Returns
    -------
    bool
        Whether its checksum is the one in `SHA256`, or the one kept beside it.
    """
    kept = _checksum_file(path)
    try:
        expected = SHA256.get(path.name) or kept.read_text(encoding="utf-8").strip()
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == expected
    except OSError:
        return False


def kept_file(sample: Sample, cache: Path | None = None) -> Path:
    """Return where a sample's file is kept, whether or not it is there.

    Parameters
    ----------
    sample
        Collision data or a simulated sample.
    cache
        The folder; by default ``$XDG_CACHE_HOME/casa-env/atlas-open-data-4lep``.

    Returns
    -------
    Path
        The file.
    """
    return (cache or cache_folder() / "atlas-open-data-4lep") / sample.file


def fetch_file(
    sample: Sample,
    *,
    base_url: str = BASE_URL,
    cache: Path | None = None,
    timeout: float = TIMEOUT_S,
    longest: float = LONGEST_S,
) -> Path:
    """Return a sample's public file, from the cache or from where it is published.

    Parameters
    ----------
    sample
        Collision data or a simulated sample.
    base_url
        Where the files are.
    cache
        Folder to keep it in, as for `kept_file`.
    timeout
        Longest wait for an answer of the server, in seconds.
    longest
        Longest time for the whole file, in seconds.

    Returns
    -------
    Path
        The file, whose checksum is the published one or that of the first download.

    Raises
    ------
    CatalogError
        Neither cached nor reachable, too slow, the content is another one, or the cache
        cannot be written.
    """
    path = kept_file(sample, cache)
    if verified(path):
        return path
    url = base_url + sample.file
    partial = path.with_name(f".{path.name}.part")
    digest = hashlib.sha256()
    deadline = time.monotonic() + longest
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(url, timeout=timeout) as answer,  # noqa: S310 - a constant, or the caller's choice
            partial.open("wb") as file,
        ):
            while block := answer.read(_BLOCK):
                digest.update(block)
                file.write(block)
                if time.monotonic() > deadline:
                    msg = f"not finished after {longest:g} s"
                    raise TimeoutError(msg)
        _require(url, digest.hexdigest(), SHA256.get(path.name))
        _checksum_file(path).write_text(digest.hexdigest() + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        msg = (
            f"{sample.file} cannot be fetched from {url} to {path.parent} ({error}). "
            'Without a network use SOURCE = "auto", which needs none'
        )
        raise CatalogError(msg) from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def _require(url: str, found: str, expected: str | None) -> None:
    if expected is not None and found != expected:
        msg = f"{url} has sha256 {found} instead of {expected}: it is not used"
        raise CatalogError(msg)


def _checksum_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
