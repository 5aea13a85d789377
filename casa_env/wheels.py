"""Wheels of a list that pins every package with its hashes, downloaded once."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from casa_env.errors import MissingPackageError, ShippingError

__all__ = ["fetched_wheels"]

#: How long a download may take in all, in seconds.
DOWNLOAD_S: Final = 600.0


def fetched_wheels(requirements: Path, folder: Path) -> list[Path]:
    """Download what a list pins, and nothing else, as wheels.

    Parameters
    ----------
    requirements
        The list; each package with ``==`` and ``--hash``.
    folder
        Where the wheels go.

    Returns
    -------
    list of pathlib.Path
        The wheels, sorted.

    Raises
    ------
    MissingPackageError
        If `pip` is not installed.
    ShippingError
        If there is no list, it is not pinned, a hash is wrong, a package has no wheel,
        or the registry cannot be reached.
    """
    if find_spec("pip") is None:
        what = "Extra packages are downloaded with pip, which is not installed."
        step = "make lab, or: python -m ensurepip"
        raise MissingPackageError(what, looked_at=sys.prefix, next_step=step)
    if not requirements.is_file():
        what = "There is no such list of packages."
        where = str(requirements.absolute())
        raise ShippingError(what, looked_at=where, next_step="Check the path.")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--require-hashes"]
    command += [
        "--only-binary=:all:",
        f"--dest={folder}",
        f"--requirement={requirements}",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_S
        )
    except subprocess.TimeoutExpired as err:
        what = f"The packages were not downloaded within {DOWNLOAD_S:g} s."
        step = "Check the network, and PIP_INDEX_URL."
        raise ShippingError(what, looked_at=str(requirements), next_step=step) from err
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        what = "The packages cannot be downloaded as they are pinned."
        raise ShippingError(
            what,
            looked_at="\n".join([str(requirements), *said[-8:]]),
            next_step="Pin every package with == and --hash, as `uv export` and "
            "pip-compile --generate-hashes write it.",
        )
    return sorted(folder.glob("*.whl"))
