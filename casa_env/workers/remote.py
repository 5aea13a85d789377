"""What runs on schedulers and workers: the text of this file travels there.

They need not have casa_env, nor the notebook's Python. Functions pickled by value end
a worker of another Python minor by a segmentation fault (cloudpickle 3.1.2, tried from
3.11 to 3.12 and 3.13). So this file needs the standard library and `distributed` only.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import io
import itertools
import os
import pkgutil
import platform
import re
import shutil
import socket
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

#: The topic of Dask's events of workers that do not start, and the operation that
#: brings workers what `casa_env.workers.delivery` gives.
TOPIC, DELIVERY = "casa-env", "casa_env_delivery"

#: Where a process keeps the digests of shipped code, and the folder it is unpacked in.
RECORD, FOLDER = "_casa_env_shipped", "casa-env-shipped"

#: What is sent holds builtins and plain values only, which every Python can read.
_CALL = (
    "exec(compile(text, 'casa_env', 'exec'), names := {'__name__': 'casa_env_remote'})"
    " or names[name](*arguments)"
)


def call(name: str, *arguments: object) -> tuple[str, dict[str, Any]]:
    """Return the arguments of `eval` that call a function of this file, anywhere."""
    text = Path(__file__).read_text()
    return _CALL, {"text": text, "name": name, "arguments": arguments}


def plugin(base: str, kind: str, name: str, *arguments: object) -> Any:  # noqa: ANN401
    """Make a plugin of one of the classes below; it is pickled as a call of this."""
    import distributed

    def reduce(_: object) -> tuple[Any, ...]:
        return eval, call("plugin", base, kind, name, *arguments)

    classes = globals()[kind], getattr(distributed, base)
    return type(kind, classes, {"name": name, "__reduce__": reduce})(*arguments)


def process_here() -> tuple[str, int]:
    """Return what tells this process from any other."""
    return socket.gethostname(), os.getpid()


def installed(paths: Iterable[str] | None = None) -> dict[str, str]:
    """Return the version of each distribution, as ``import`` finds it, by its name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions(path=list(paths or sys.path)):
        # Not `distribution.metadata`, which fails for a folder that a failed removal
        # left behind, and parses whole files: ten times as long.
        text = None
        with contextlib.suppress(OSError, ValueError):  # somebody else's, and broken
            text = distribution.read_text("METADATA")
            text = text or distribution.read_text("PKG-INFO")
        head = (text or "").partition("\n\n")[0]
        name, version = (
            re.search(rf"(?im)^{field}:[ \t]*(\S+)", head)
            for field in ("name", "version")
        )
        if name and version:
            found.setdefault(re.sub(r"[-_.]+", "-", name[1]).lower(), version[1])
    return found


def foreign() -> dict[str, str]:
    """Return which modules of Python and of this environment come from elsewhere.

    ``PYTHONPATH``, the user's own packages and the working directory can each be before
    them, without a version. Nothing is imported: the first that has the name is it.
    """
    paths = sysconfig.get_paths()
    own = {os.path.realpath(paths[name]) for name in ("stdlib", "purelib", "platlib")}
    places = [os.path.realpath(entry) for entry in sys.path]
    # What comes last is from their .pth files: an editable casa_env.
    own |= {*itertools.takewhile(lambda place: place not in own, reversed(places))}
    ours = {module.name for module in pkgutil.iter_modules(own)}
    ours |= {"sitecustomize", "usercustomize"}  # which Python runs unasked
    found: dict[str, str] = {}
    for entry, place in zip(sys.path, places, strict=True):
        names = {module.name for module in pkgutil.iter_modules([entry])} & ours
        ours -= names
        if place not in own and FOLDER not in Path(entry).parts:
            found |= dict.fromkeys(names, str(Path(entry).absolute()))
    if "casa_env" in found:  # a clone's tests run in an image of the same files
        copies = [archived(Path(one, "casa_env")) for one in (*own, found["casa_env"])]
        if copies.pop() in copies:
            del found["casa_env"]
    python = Path(os.path.realpath(sys.executable)).parents[1]
    if os.environ.get("PYTHONHOME") and not Path(paths["stdlib"]).is_relative_to(
        python
    ):
        found["python"] = paths["stdlib"]
    return dict(sorted(found.items()))


def describe() -> dict[str, Any]:
    """Return what is to be compared of this process, as plain values."""
    packages = installed()
    for name, place in foreign().items():
        packages[name.replace("_", "-").lower()] = f"from {place}"
    return {
        "python": f"{platform.python_version()} {platform.python_implementation()}",
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": packages,
        "shipped": dict(getattr(sys, RECORD, {})),
    }


def differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], require: str
) -> list[tuple[str, str, str]]:
    """Return what keeps two that `describe` gave apart: name, ours and theirs.

    If not ``"identical"``, they may differ by Python's patch version and the platform,
    the others may have more, and what is only ``for_people`` may be missing there.
    """
    if require == "off":
        return []
    strict = require == "identical"
    found = []
    one, two = ours["python"], theirs["python"]
    minor, theirs_minor = (re.sub(r"(\d+\.\d+)\S*", r"\1", x) for x in (one, two))
    if minor != theirs_minor or (strict and one != two):
        found.append(("python", one, two))
    if strict and ours["platform"] != theirs["platform"]:
        found.append(("platform", ours["platform"], theirs["platform"]))
    people = () if strict else ours.get("for_people", ())
    more = theirs["packages"] if strict else ()
    for part, names in (("packages", more), ("shipped", ())):
        for name in sorted({*ours[part], *names}):
            one, two = (x[part].get(name, "missing") for x in (ours, theirs))
            if one != two and not (two == "missing" and name in people):
                found.append((name, one, two))
    return found


class Guard:
    """Keep a worker that differs from doing work, also one that joins later."""

    def __init__(self, ours: dict[str, Any], require: str) -> None:
        self.ours, self.require = ours, require

    async def setup(self, worker: Any) -> None:  # noqa: ANN401, D102 - distributed's
        if found := differences(self.ours, describe(), self.require):
            await _refuse(worker, differences=found)


async def _refuse(worker: Any, **reason: object) -> None:  # noqa: ANN401
    """Tell the client why, give back what the scheduler has sent already, and close.

    A worker begins its tasks only after its plugins are set up, also one whose plugin
    has raised (distributed 2026.8.0, ``Worker._register_with_scheduler``). Retiring
    first keeps the scheduler from counting the loss against the tasks.
    """
    about = {"name": str(worker.name), "host": platform.node(), **reason}
    away = {"workers": [worker.address], "close_workers": False, "remove": True}
    # Retired, or closed by another plugin, it may be cut off before the answer.
    with contextlib.suppress(OSError):
        await worker.scheduler.log_event(topic=TOPIC, msg=about)
        await worker.scheduler.retire_workers(**away)
    await worker.close(reason="casa-env-refused", executor_wait=False)


def archived(place: Path) -> bytes:
    """Return a module's file, or a package's folder, as a zip file.

    Equal files make equal archives. Compiled and hidden files are left out.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            parts = file.relative_to(place).parts
            left_out = any(part[0] == "." or part == "__pycache__" for part in parts)
            if file.is_file() and not left_out:
                name = file.relative_to(place.parent).as_posix()
                archive.writestr(zipfile.ZipInfo(name), file.read_bytes())
    return buffer.getvalue()


class Code:
    """Bring a module or package that the client has; the newest wins."""

    def __init__(self, module: str, digest: str, archive: bytes, home: Any) -> None:  # noqa: ANN401
        self.module, self.digest, self.archive = module, digest, archive
        self.is_home = process_here() == tuple(home)

    async def start(self, scheduler: Any) -> None:  # noqa: ANN401, D102 - distributed's
        self._bring(Path(scheduler.local_directory))

    async def setup(self, worker: Any) -> None:  # noqa: ANN401 - distributed's
        """Bring it to a worker; one that just starts and cannot import it closes."""
        try:
            self._bring(Path(worker.local_directory))
        except Exception as error:
            if worker.periodic_callbacks["heartbeat"].is_running():
                raise  # the client waits for the answer
            reason = f"{type(error).__name__}: {error}"
            await _refuse(worker, code=self.module, reason=reason)

    def teardown(self, worker: Any) -> None:  # noqa: ANN401, ARG002, D102 - distributed's
        getattr(sys, RECORD, {}).pop(self.module, None)
        self._forget()

    def _forget(self) -> None:
        """Forget what was imported, and where earlier code lies."""
        if self.is_home:
            return
        for loaded in list(sys.modules):
            if f"{loaded}.".startswith(f"{self.module}."):
                del sys.modules[loaded]
        place = FOLDER, self.module
        sys.path[:] = [p for p in sys.path if Path(p).parts[-3:-1] != place]
        importlib.invalidate_caches()

    def _bring(self, directory: Path) -> None:
        """Make the code importable here, unpacked unless the same files lie here."""
        record = sys.__dict__.setdefault(RECORD, {})
        if record.get(self.module) == self.digest:
            return
        received = hashlib.sha256(self.archive).hexdigest()
        if received != self.digest:
            msg = f"the hash of {self.module} is {received}, not {self.digest}"
            raise ValueError(msg)
        self._forget()
        spec = importlib.util.find_spec(self.module)
        place = Path((spec and spec.origin) or os.devnull)
        if spec and spec.submodule_search_locations:
            place = place.parent
        if not self.is_home and archived(place) != self.archive:
            target = directory / FOLDER / self.module / self.digest[:16]
            shutil.rmtree(target, ignore_errors=True)
            with zipfile.ZipFile(io.BytesIO(self.archive)) as archive:
                archive.extractall(target)
            sys.path.insert(0, str(target))
            importlib.invalidate_caches()
        importlib.import_module(self.module)
        record[self.module] = self.digest


class Receiver:
    """Let a worker take what its client gives it, and wait for that before it reads.

    It holds no secret: the scheduler keeps it for workers to come.
    """

    def setup(self, worker: Any) -> None:  # noqa: ANN401, D102 - distributed's
        try:
            from casa_env.tokens.bearer import expect_delivery, receive
        except ImportError:
            return  # without casa_env it has no use for a token
        expect_delivery()
        worker.handlers[DELIVERY] = receive

    def teardown(self, worker: Any) -> None:  # noqa: ANN401, D102 - distributed's
        worker.handlers.pop(DELIVERY, None)
