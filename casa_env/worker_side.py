"""What runs on a scheduler or a worker: it travels there as source.

A worker need not have casa_env, nor the notebook's Python, for this to tell so: the
text of this file is sent and compiled there. It therefore needs nothing but the
standard library and `distributed`, and imports the latter only inside functions.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import io
import os
import platform
import shutil
import socket
import sys
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = [
    "RECORD",
    "TOPIC",
    "Code",
    "Guard",
    "contents",
    "describe",
    "differences",
    "folder_digest",
    "here",
    "installed",
]

#: The topic of Dask's events under which a worker says why it does not start.
TOPIC = "casa-env"

#: Where this process keeps the digests of what was shipped to it.
RECORD = "_casa_env_shipped"

#: The parts of a version that must be equal: major and minor.
_MINOR = 2


def installed(paths: Iterable[str] | None = None) -> dict[str, str]:
    """Return name and version of each distribution, names as PEP 503 writes them.

    Parameters
    ----------
    paths
        Folders to look in; by default ``sys.path``.

    Returns
    -------
    dict
        Of a distribution that is found twice, the one that ``import`` finds.
    """
    folders = list(sys.path if paths is None else paths)
    found: dict[str, str] = {}
    for distribution in metadata.distributions(path=folders):
        # Not `distribution.metadata`: where it is missing, as in a folder that a failed
        # removal left behind, the standard library and its backport do not agree. And
        # parsing whole files, most of them long descriptions, takes ten times as long.
        text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
        about: dict[str, str] = {}
        for line in (text or "").splitlines():
            if not line.strip():
                break
            key, _, value = line.partition(":")
            about.setdefault(key.lower(), value.strip())
        name, version = about.get("name"), about.get("version")
        if name and version:
            for separator in "_.":
                name = name.replace(separator, "-")
            name = "-".join(part for part in name.lower().split("-") if part)
            found.setdefault(name, version)
    return found


def here() -> tuple[str, int]:
    """Return what tells this process from any other."""
    return socket.gethostname(), os.getpid()


def describe() -> dict[str, Any]:
    """Return what is to be compared of this process, as plain values.

    Returns
    -------
    dict
        ``python``, ``platform``, ``packages`` and ``shipped``: name and digest of
        the code that came from the client.
    """
    return {
        "python": f"{platform.python_version()} {platform.python_implementation()}",
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": installed(),
        "shipped": dict(getattr(sys, RECORD, {})),
    }


def differences(
    client: Mapping[str, Any], other: Mapping[str, Any], require: str
) -> list[tuple[str, str, str]]:
    """Return what keeps a scheduler or a worker from doing this client's work.

    Parameters
    ----------
    client, other
        As `describe` gives them.
    require
        ``"identical"``: nothing may differ. ``"compatible"``: Python's minor version,
        and what both have, must be equal, and all that the client has must be there;
        more may be. ``"off"``: anything goes.

    Returns
    -------
    list of tuple
        Name, the client's version, the other's; empty where nothing is wrong.
    """
    if require == "off":
        return []
    strict = require == "identical"
    found = []
    ours, theirs = client["python"], other["python"]
    if ours != theirs and (strict or _minor(ours) != _minor(theirs)):
        found.append(("python", ours, theirs))
    if strict and client["platform"] != other["platform"]:
        found.append(("platform", client["platform"], other["platform"]))
    people = set(client.get("for_people", ()))
    for part in ("packages", "shipped"):
        here, there = client[part], other[part]
        names = sorted(here if part == "shipped" or not strict else {*here, *there})
        for name in names:
            one, two = here.get(name, "missing"), there.get(name, "missing")
            excused = two == "missing" and name in people and not strict
            if one != two and not excused:
                found.append((name, one, two))
    return found


def _minor(python: str) -> list[str]:
    """Return implementation, major and minor of a Python."""
    version, _, implementation = python.partition(" ")
    return [implementation, *version.split(".")[:_MINOR]]


def folder_digest(folder: Path) -> str:
    """Return the digest of a module's file, or of all files of a package.

    Parameters
    ----------
    folder
        A file, or a folder. Compiled files do not count.

    Returns
    -------
    str
        SHA-256 in hexadecimal, of names and contents.
    """
    digest = hashlib.sha256()
    for name, content in contents(folder):
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


def contents(folder: Path) -> Iterable[tuple[str, bytes]]:
    """Yield name and content of a module's file, or of a package's, in order.

    Parameters
    ----------
    folder
        A file, or a folder; names begin with its own.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    for file in files:
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        if file.is_file() and "__pycache__" not in file.parts and not hidden:
            yield file.relative_to(folder.parent).as_posix(), file.read_bytes()


class Guard:
    """Keep a worker that differs from doing work, also one that joins later."""

    def __init__(self, client: dict[str, Any], require: str) -> None:
        self.client = client
        self.require = require

    async def setup(self, worker: Any) -> None:  # noqa: ANN401 - distributed's
        """Compare, and close the worker if it differs."""
        found = differences(self.client, describe(), self.require)
        if found:
            await _refuse(worker, {"differences": found})


class Code:
    """Bring code that the client has; the newest wins."""

    def __init__(
        self,
        *,
        label: str,
        digest: str,
        archive: bytes,
        imports: tuple[str, ...],
        home: tuple[str, int],
    ) -> None:
        self.label = label
        self.digest = digest
        self.archive = archive
        self.imports = imports
        self.home = home

    async def setup(self, worker: Any) -> None:  # noqa: ANN401 - distributed's
        """Unpack, import; close a worker that cannot, unless it is at work already."""
        try:
            self.bring(Path(worker.local_directory))
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            if worker.periodic_callbacks["heartbeat"].is_running():
                raise  # the call that sends the code is answered
            await _refuse(worker, {"code": self.label, "reason": reason})

    def teardown(self, worker: Any) -> None:  # noqa: ANN401, ARG002 - distributed's
        """Forget the code, where the client that brought it leaves."""
        if self.home != here():
            self._forget()
            getattr(sys, RECORD, {}).pop(self.label, None)

    def bring(self, directory: Path) -> None:
        """Make the code importable here, unpacked below a folder of this process."""
        record = sys.__dict__.setdefault(RECORD, {})
        if record.get(self.label) == self.digest:
            return
        received = hashlib.sha256(self.archive).hexdigest()
        if received != self.digest.partition("+")[0]:
            msg = f"the hash of {self.label} is {received}, not {self.digest}"
            raise ValueError(msg)
        if self.home != here():
            self._forget()
            self._place(directory)
        for name in self.imports:
            importlib.import_module(name)
        record[self.label] = self.digest

    def _forget(self) -> None:
        """Forget what was imported, and where earlier code lies."""
        for name in self.imports:
            for loaded in list(sys.modules):
                if loaded == name or loaded.startswith(f"{name}."):
                    del sys.modules[loaded]
        place = ("casa-env-shipped", self.label)
        sys.path[:] = [p for p in sys.path if Path(p).parts[-3:-1] != place]

    def _place(self, directory: Path) -> None:
        """Unpack, unless the same lies here already; the newest comes first."""
        importlib.invalidate_caches()
        if not self.imports or not self._lies_here():
            target = directory / "casa-env-shipped" / self.label / self.digest[:16]
            shutil.rmtree(target, ignore_errors=True)
            with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
                archive.extractall(target)
            # Extra packages come last: what the environment has stays what counts.
            sys.path.insert(0 if self.imports else len(sys.path), str(target))
            importlib.invalidate_caches()

    def _lies_here(self) -> bool:
        """Tell whether the same files are what ``import`` would find."""
        (name,) = self.imports
        spec = importlib.util.find_spec(name)
        if spec is None or not spec.origin:
            return False
        origin = Path(spec.origin)
        place = origin.parent if spec.submodule_search_locations else origin
        return folder_digest(place) == self.digest.partition("+")[2]


async def _refuse(worker: Any, reason: dict[str, Any]) -> None:  # noqa: ANN401
    """Say why, give back what the scheduler has sent already, and close.

    A worker takes its tasks in only after its plugins are set up (distributed 2026.8.0,
    ``Worker._register_with_scheduler``), so it has done none of them. Retiring first
    keeps the scheduler from counting the loss against the tasks.
    """
    about = {
        "worker": worker.address,
        "name": str(worker.name),
        "host": platform.node(),
    }
    await worker.scheduler.log_event(topic=TOPIC, msg=about | reason)
    await worker.scheduler.retire_workers(
        workers=[worker.address], close_workers=False, remove=True
    )
    await worker.close(reason="casa-env-refused", executor_wait=False)
