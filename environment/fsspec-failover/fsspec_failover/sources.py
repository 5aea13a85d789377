"""One source of a file: an XRootD server, a web server, an object store or another.

What reads it is imported when it is needed: the extras of this distribution.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final
from urllib.parse import urlsplit

from fsspec.asyn import get_loop, sync
from fsspec.core import url_to_fs

from fsspec_failover.failures import FAILURES, described, is_refusal
from fsspec_failover.hooks import HookError, Hooks, Options, installed
from fsspec_failover.urls import host_of

logger = logging.getLogger(__name__)

_LOCK: Final = threading.RLock()

#: The file systems of fsspec that are in use.
FILESYSTEMS: Final[dict[Any, Any]] = {}


class Source:
    """A file where it is, for one request, by way of a file system of `fsspec`."""

    _extra = ""

    def __init__(
        self, url: str, loop: asyncio.AbstractEventLoop, hooks: Hooks | None = None
    ) -> None:
        self.url = url
        self.host = host_of(url)
        self._hooks = hooks or installed()
        self._loop = loop

    @property
    def line(self) -> str:
        """The host, and the origin that it is to ask, where it is a cache."""
        _, cached, origin = self.url.partition("//root://")
        return f"{self.host} for {host_of(f'root://{origin}')}" if cached else self.host

    @cached_property
    def options(self) -> Options:
        """How to read it."""
        return self._hooks.options(self.url)

    async def read(self, start: int | None, end: int | None) -> bytes:
        """Return a range of the file."""
        with self._plain_errors():
            system, path = await self._opened()
            content: bytes = await system._cat_file(path, start=start, end=end)
        return content

    async def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several ranges of the file, in one request where the server can."""
        starts, ends = ([r[i] for r in ranges] for i in (0, 1))
        with self._plain_errors():
            system, path = await self._opened()
            chunks = await system._cat_ranges([path] * len(ranges), starts, ends)
            for chunk in chunks:
                if isinstance(chunk, BaseException):
                    raise chunk
        return list(chunks)

    async def size(self) -> int:
        """Return the file's size in bytes."""
        with self._plain_errors():
            system, path = await self._opened()
            return int((await system._info(path))["size"])

    def forget(self) -> None:
        """Open the file anew at the next request."""

    async def _opened(self) -> tuple[Any, str]:
        """Return an asynchronous file system and the path in it."""
        raise NotImplementedError

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Turn errors of one package only into those that mean: try another source."""
        try:
            yield
        except ValueError as err:
            # an unknown protocol, or a handle that another request has given up
            raise OSError(str(err)) from err
        except ImportError as err:
            if not self._extra:
                raise
            msg = f"not installed: fsspec-failover[{self._extra}]"
            raise ImportError(msg) from err


class _XRootDSource(Source):
    """A file of an XRootD server, a cache for example."""

    _extra = "xrootd"

    async def _opened(self) -> tuple[Any, str]:
        from fsspec_failover import xrootd

        token = self._hooks.token(self.url)
        name = xrootd.login_name(token)
        hostid = f"{name}@{self._netloc}" if name else urlsplit(self.url).netloc

        scheme = urlsplit(self.url).scheme

        def make() -> xrootd.GuardedXRootDFileSystem:
            xrootd.bound_waiting()
            return xrootd.GuardedXRootDFileSystem(hostid, scheme, loop=self._loop)

        system = await _kept((scheme, hostid, id(self._loop)), make)
        if token is not None and not system.opened(self._path):
            await system.log_in(token, timeout=int(self.options.timeout_s) or 1)
        return system, self._path

    async def size(self) -> int:
        with self._plain_errors():
            system, path = await self._opened()
            return int(await system.size_of(path))

    def forget(self) -> None:
        for key, system in list(FILESYSTEMS.items()):
            xrootd = _KINDS.get(key[0]) is _XRootDSource
            if xrootd and key[1].rpartition("@")[2] == self._netloc:
                self._loop.call_soon_threadsafe(system.forget, self._path)

    @property
    def _netloc(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]

    @property
    def _path(self) -> str:
        scheme, netloc = urlsplit(self.url)[:2]
        path = self.url.removeprefix(f"{scheme}://{netloc}")
        return path.removeprefix("/").rstrip("/")


class _HttpsSource(Source):
    """A file of a web server."""

    _extra = "https"

    async def _opened(self) -> tuple[Any, str]:
        from fsspec_failover.https import https_filesystem

        options, hooks, loop = self.options, self._hooks, self._loop
        key = ("https", options.timeout_s, options.ca_dir, hooks, id(loop))
        system = await _kept(key, lambda: https_filesystem(options, hooks, loop))
        return system, self.url

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        with super()._plain_errors():
            from fsspec_failover.https import plain_errors

            with plain_errors():
                yield


class _StoreSource(Source):
    """An object of a store."""

    _extra = "s3"

    async def _opened(self) -> tuple[Any, str]:
        from s3fs import S3FileSystem

        options = dict(self.options.s3)
        key = ("s3", repr(sorted(options.items(), key=str)), id(self._loop))
        system = await _kept(key, lambda: S3FileSystem(loop=self._loop, **options))
        return system, self.url.removeprefix("s3://")

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        with super()._plain_errors():
            from botocore.exceptions import BotoCoreError

            try:
                yield
            except BotoCoreError as err:  # no key, or no such endpoint
                msg = f"{type(err).__name__}: {err}"
                raise OSError(msg) from err


class _OtherSource(Source):
    """Anything else that fsspec knows, in a thread."""

    async def read(self, start: int | None, end: int | None) -> bytes:
        with self._plain_errors():
            system, path = await asyncio.to_thread(url_to_fs, self.url)
            found = await asyncio.to_thread(system.cat_file, path, start=start, end=end)
        return bytes(found)

    async def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [await self.read(start, end) for start, end in ranges]

    async def size(self) -> int:
        with self._plain_errors():
            system, path = await asyncio.to_thread(url_to_fs, self.url)
            return int(await asyncio.to_thread(system.size, path))


_KINDS: Final[dict[str, type[Source]]] = {
    **dict.fromkeys(("root", "roots", "xroot", "xroots"), _XRootDSource),
    "http": _HttpsSource,
    "https": _HttpsSource,
    "s3": _StoreSource,
}


def open_source(
    url: str, loop: asyncio.AbstractEventLoop, hooks: Hooks | None = None
) -> Source:
    """Return a source of a file; nothing is connected to yet."""
    scheme = url.partition("://")[0] if "://" in url else ""
    return _KINDS.get(scheme, _OtherSource)(url, loop, hooks)


def refused(url: str, timeout_s: float, *, hooks: Hooks | None = None) -> bool:
    """Ask a server for the beginning of a file; tell whether it refused us.

    A server that cannot be reached has not refused: its failure is logged.
    """
    loop = get_loop()
    source = open_source(url, loop, hooks)
    try:
        sync(loop, source.read, 0, 4, timeout=timeout_s)
    except HookError:
        raise
    except FAILURES as err:
        if is_refusal(err):
            return True
        logger.info("%s: %s", source.host, described(err))
    return False


async def _kept(key: Any, make: Callable[[], Any]) -> Any:
    """Return a file system, the same for the same key.

    They are made in a thread: some wait for the event loop, in which this runs.
    """
    if key not in FILESYSTEMS:

        def once() -> None:
            with _LOCK:
                if key not in FILESYSTEMS:
                    FILESYSTEMS[key] = make()

        await asyncio.to_thread(once)
    return FILESYSTEMS[key]
