"""What makes a result: the environment, the code's commit, the inputs, the settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from casa_env.data.xcache import files_of
from casa_env.settings import Settings
from casa_env.settings.table import declarations
from casa_env.workers.sameness import environment_here

#: How long git may take; and how long its answer and the list of packages hold, so that
#: a loop that starts many runs is not slowed.
GIT_TIMEOUT_S: Final = 5.0
CONTEXT_S: Final = 30.0

#: Larger local files are told apart by name and size, and not read.
HASHED_BYTES: Final = 100_000_000


@lru_cache(maxsize=1)
def context_tags(folder: str, _period: int) -> dict[str, str]:
    """Return what makes a run: the environment, and the commit of the folder's code."""
    environment = environment_here()
    commit = _git(folder, "rev-parse", "HEAD")
    # Where git cannot tell in time what changed, files count as changed.
    dirty = _git(folder, "status", "--porcelain") != "" if commit else ""
    return {
        "casa.environment_id": environment.id,
        "casa.python": environment.python,
        "casa.version": environment.casa_env,
        "casa.git_commit": commit or "",
        "casa.git_dirty": str(dirty).lower(),
    }


def _git(folder: str, *words: str) -> str | None:
    """Return what git prints; ``None`` where it cannot tell."""
    # A lock on the index would get in the way of what the user does meanwhile.
    command = ["git", "--no-optional-locks", "-C", folder, *words]
    options: Any = {"timeout": GIT_TIMEOUT_S, "stdin": subprocess.DEVNULL, "text": True}
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(command, capture_output=True, check=True, **options)  # noqa: S603 - our own words
        return str(done.stdout).strip()
    return None


def fileset_contents(fileset: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return by dataset what is read, sorted, without what differs between machines.

    A URL as it is; of a local file its name, bytes and, where it is not large, SHA-256.
    """
    contents: dict[str, list[dict[str, Any]]] = {}
    for dataset, file in files_of(fileset):
        url = str(file)
        described: dict[str, Any] = {"url": url}
        if "://" not in url:
            described = {"name": Path(url).name, "bytes": None}
            with contextlib.suppress(OSError):
                described["bytes"] = Path(url).stat().st_size
                if described["bytes"] <= HASHED_BYTES:
                    content = Path(url).read_bytes()
                    described["sha256"] = hashlib.sha256(content).hexdigest()
        contents.setdefault(dataset, []).append(described)
    return {name: sorted(contents[name], key=json.dumps) for name in sorted(contents)}


def fileset_digest(fileset: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what a fileset reads: equal where the inputs are."""
    text = json.dumps(fileset_contents(fileset), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_record(
    folder: Path, settings: Settings, fileset: Mapping[str, Any] | None
) -> None:
    """Write what a run records of itself: packages, lock, settings and fileset."""
    packages = (f"{name}=={version}\n" for name, version in environment_here().packages)
    (folder / "packages.txt").write_text("".join(packages))
    # The lock is in a clone and in an image; elsewhere the packages must do.
    clone = Path(__file__).resolve().parents[2] / "environment"
    image = Path(sys.prefix) / "share" / "casa-env"
    locks = [place / f"{n}.lock" for place in (clone, image) for n in ("lab", "worker")]
    for lock in [lock for lock in locks if os.access(lock, os.R_OK)][:1]:
        (folder / lock.name).write_bytes(lock.read_bytes())
    values = {
        name: {"value": settings.shown(name), "source": settings.origin(name)}
        for name in declarations()
    }
    (folder / "settings.json").write_text(json.dumps(values, indent=1))
    if fileset:
        text = json.dumps(fileset_contents(fileset), indent=1)
        (folder / "fileset.json").write_text(text)
