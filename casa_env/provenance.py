"""Where a result comes from: the code's commit, the inputs' digest, the lock."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["GitState", "fileset_contents", "fileset_digest", "git_state", "lock_file"]

#: How long git may take: a status on a slow file system.
GIT_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class GitState:
    """What a folder's repository is at."""

    commit: str
    """The commit's hash; empty where there is no repository, or no git."""

    dirty: bool
    """Whether files differ from that commit; new ones that git ignores do not count."""


def git_state(folder: Path) -> GitState:
    """Return the commit that a folder is at, and whether files were changed since.

    On a laptop that is the clone. In an image without git, or where the code is in no
    repository, the commit is empty.

    Parameters
    ----------
    folder
        Any folder inside of the repository.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain") if commit else ""
    return GitState(commit=commit or "", dirty=changed is None or bool(changed))


def _git(folder: Path, *words: str) -> str | None:
    """Return what git says; None where it cannot tell."""
    # A lock on the index would get in the way of what the user does meanwhile.
    command = ["git", "--no-optional-locks", "-C", str(folder), *words]
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=GIT_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def fileset_contents(fileset: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return what a fileset reads, without what differs from one machine to another.

    Parameters
    ----------
    fileset
        Dataset name to files, in coffea's shape: ``{"name": {"files": {...}}}``, or the
        files themselves, a mapping or a list.

    Returns
    -------
    dict
        For each dataset its files, sorted: a URL as it is; of a local file its name,
        its size in bytes and, up to `HASHED_BYTES`, its content's SHA-256.
    """
    contents = {}
    for name, dataset in sorted(fileset.items()):
        files = dataset["files"] if isinstance(dataset, Mapping) else dataset
        described = [_described(str(file)) for file in files]
        contents[name] = sorted(described, key=json.dumps)
    return contents


#: Larger local files are told apart by name and size: reading them all would cost more
#: than the analysis.
HASHED_BYTES: Final = 100_000_000


def _described(file: str) -> dict[str, Any]:
    if "://" in file:
        return {"url": file}
    path = Path(file)
    described: dict[str, Any] = {"name": path.name}
    try:
        described["bytes"] = path.stat().st_size
        if described["bytes"] <= HASHED_BYTES:
            described["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        described["bytes"] = None
    return described


def fileset_digest(fileset: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a fileset reads: equal where the inputs are.

    Parameters
    ----------
    fileset
        As for `fileset_contents`.

    Examples
    --------
    >>> one = {"a": {"files": {"root://x//f": "Events"}}}
    >>> other = {"a": ["root://x//f"]}
    >>> fileset_digest(one) == fileset_digest(other)
    True
    """
    text = json.dumps(fileset_contents(fileset), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def lock_file() -> Path | None:
    """Return the lock that this environment was installed from, where it is known.

    In a clone that is ``environment/lab.lock``; in an image, the copy in
    ``share/casa-env`` of its Python. ``None`` elsewhere: the list of packages must do.
    """
    folders = (
        Path(__file__).resolve().parents[1] / "environment",
        Path(sys.prefix) / "share" / "casa-env",
    )
    for folder in folders:
        for name in ("lab.lock", "worker.lock"):
            if os.access(folder / name, os.R_OK):
                return folder / name
    return None
