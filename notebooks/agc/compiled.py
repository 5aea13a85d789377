"""Compile functions with numba and keep the machine code where it can be shared.

All processes of a machine share one cache on disk, so only the first one compiles
(about five seconds). numba's own cache has two gaps that matter here: it does not
notice that a function or a constant in *another* module has changed, and it does not
read a cache that it cannot write. So the folder is named by what the code is made
from, and a cache that is there but read-only, as in an image, is copied once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numba
from numba.core import serialize
from numba.core.caching import CompileResultCacheImpl, FunctionCache

from casa_env.settings.places import can_write, is_safe

__all__ = ["compiled", "inlined"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_IMPORT = re.compile(r"^\s*from agc((?:\.\w+)*) import (.+)$", re.MULTILINE)
_PACKAGE = Path(__file__).resolve().parent
_log = logging.getLogger(__name__)


def compiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile numeric code when it is first called, once for all processes.

    numba must be able to compile it without Python objects; what is returned, its
    dispatcher, releases the interpreter's lock while it runs.

    Notes
    -----
    Machine code goes below ``NUMBA_CACHE_DIR`` if that is set, else beside the source,
    else below ``$XDG_CACHE_HOME/casa-env``, else below the temporary folder: the first
    of them that can be written, and by nobody else. Where there is none, each process
    compiles for itself. Two processes that compile at once both write whole files; the
    last one's stay.
    """
    config: Any = numba.config  # its names are not in numba's type information
    before = config.CACHE_DIR
    folder = _folder(Path(function.__code__.co_filename))
    config.CACHE_DIR = str(folder)
    try:
        dispatcher: Any = numba.njit(nogil=True)(function)
        if folder is not None:
            dispatcher._cache = _Cache(function)  # noqa: SLF001 - as cache=True does
    finally:
        config.CACHE_DIR = before
    found: Callable[Arguments, Result] = dispatcher
    return found


class _Content(CompileResultCacheImpl):
    """Machine code with its checksum: one changed byte could end the process."""

    def reduce(self, result: Any) -> tuple[bytes, bytes]:  # noqa: ANN401 - numba's
        content: bytes = serialize.dumps(super().reduce(result))
        return hashlib.sha256(content).digest(), content

    def rebuild(self, target: Any, payload: tuple[bytes, bytes]) -> Any:  # noqa: ANN401
        digest, content = payload
        if hashlib.sha256(content).digest() != digest:
            msg = "the machine code has changed"
            raise ValueError(msg)
        return super().rebuild(target, pickle.loads(content))  # noqa: S301 - only we can write it


class _Cache(FunctionCache):
    """numba's cache, in which files that cannot be used are made anew."""

    _impl_class = _Content

    def load_overload(self, sig: Any, target: Any) -> Any:  # noqa: ANN401 - numba's
        try:
            return super().load_overload(sig, target)
        except Exception as error:  # noqa: BLE001 - damaged pickles raise anything
            _log.debug("%s of %s is made anew: %s", sig, self, error)
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:  # noqa: ANN401 - numba's
        try:
            super().save_overload(sig, data)
        except Exception as error:  # noqa: BLE001 - a full disk, or a damaged index
            _log.debug("%s of %s is not kept: %s", sig, self, error)


def inlined(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Compile numeric code into each compiled function that calls it.

    For functions that take a chunk's columns: a call would hand over more than a
    hundred numbers, one by one, for each event (measured: a quarter of the kernel).
    """
    dispatcher: Callable[Arguments, Result] = numba.njit(inline="always")(function)
    return dispatcher


@cache
def _folder(source: Path) -> Path | None:
    """Return where a module's machine code is kept: a folder only we can write to.

    If a place that comes first cannot be written but has the code, it is copied.
    """
    name = f"numba-{_digest(source)}"
    places = _places(os.environ)
    for i, place in enumerate(places):
        folder = place / name
        if _is_ours(folder):
            for earlier in places[:i]:
                # A clone's or an image's cache is as good as the source beside it.
                with contextlib.suppress(OSError):
                    if is_safe(earlier / name, os.geteuid(), source.stat().st_uid):
                        _log.debug("copying code from %s to %s", earlier, folder)
                        shutil.copytree(earlier / name, folder, dirs_exist_ok=True)
                        break
            return folder
    _say_that_nothing_is_kept(", ".join(map(str, places)))
    return None


@cache
def _say_that_nothing_is_kept(places: str) -> None:
    words = "compiled code is not kept: nowhere can only you write (%s)"
    _log.warning(words, places)


def _places(environ: os._Environ[str]) -> list[Path]:
    """Return the folders that may hold compiled code, the preferred one first."""
    caches = environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/")) / ".cache"
    temporary = Path(tempfile.gettempdir()) / f"casa-env-numba-{os.geteuid()}"
    places = [_PACKAGE / "__pycache__", Path(caches) / "casa-env", temporary]
    if environ.get("NUMBA_CACHE_DIR"):
        places.insert(0, Path(environ["NUMBA_CACHE_DIR"]))
    return places


def _is_ours(folder: Path) -> bool:
    """Tell whether only we can make files in a folder; it is created."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return is_safe(folder) and can_write(folder)
    except OSError:
        return False


def _digest(source: Path) -> str:
    """Return a digest of a module and of every module of this package it builds on."""
    found = {source}
    while True:
        texts = {path: path.read_text() for path in found}
        more = {path for text in texts.values() for path in _imported(text)} - found
        if not more:
            break
        found |= more
    content = "".join(texts[path] for path in sorted(found))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _imported(text: str) -> set[Path]:
    """Return the files of this package's modules that a module imports."""
    paths: set[Path] = set()
    for module, imported in _IMPORT.findall(text):
        folder = _PACKAGE.joinpath(*module.split("."))
        paths |= {folder / f"{name}.py" for name in re.findall(r"\w+", imported)}
        paths.add(folder.with_suffix(".py"))
    return {path for path in paths if path.is_file()}
