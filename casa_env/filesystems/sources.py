"""One source of a file: an XRootD server, a web server, an object store or another."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

from fsspec.core import url_to_fs

from casa_env.bearer_tokens import BearerToken
from casa_env.credentials import token_for
from casa_env.filesystems.https import https_filesystem
from casa_env.filesystems.xrootd import (
    GuardedXRootDFileSystem,
    bound_waiting,
    login_name,
)
from casa_env.object_stores import s3_options
from casa_env.received import settings_here
from casa_env.settings import Settings
from casa_env.xcache import host_of

__all__ = ["Source", "filesystems", "open_source"]

_LOCK: Final = threading.RLock()
_FILESYSTEMS: Final[dict[Any, Any]] = {}


class Source:
    """A file where it is, read by way of a file system of `fsspec`."""

    def __init__(
        self,
        url: str,
        loop: asyncio.AbstractEventLoop,
        settings: Settings | None = None,
    ) -> None:
        self.url = url
        self._settings = settings
        self.host = host_of(url)
        self._loop = loop

    @property
    def line(self) -> str:
        """The host, and the origin that it is to ask, where it is a cache."""
        _, cached, origin = self.url.partition("//root://")
        return f"{self.host} for {host_of(f'root://{origin}')}" if cached else self.host

    async def read(self, start: int | None, end: int | None) -> bytes:
        """Return a range of the file."""
        system, path = await self._opened()
        content: bytes = await system._cat_file(path, start=start, end=end)
        return content

    async def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several ranges of the file, in one request where the server can."""
        system, path = await self._opened()
        starts, ends = ([r[i] for r in ranges] for i in (0, 1))
        chunks = await system._cat_ranges([path] * len(ranges), starts, ends)
        for chunk in chunks:
            if isinstance(chunk, BaseException):
                raise chunk
        return list(chunks)

    async def size(self) -> int:
        """Return the file's size in bytes."""
        system, path = await self._opened()
        return int((await system._info(path))["size"])

    def forget(self) -> None:
        """Open the file anew at the next request."""

    def settings(self) -> Settings:
        """Return the settings to read with: those given, or this process's own."""
        return self._settings or settings_here()

    async def _opened(self) -> tuple[Any, str]:
        """Return an asynchronous file system and the path in it."""
        raise NotImplementedError


class _XRootDSource(Source):
    """A file of an XRootD server, a cache for example."""

    async def read(self, start: int | None, end: int | None) -> bytes:
        with _open_handles():
            return await super().read(start, end)

    async def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        with _open_handles():
            return await super().read_ranges(ranges)

    async def _opened(self) -> tuple[GuardedXRootDFileSystem, str]:
        settings = self.settings()
        token = token_for(self.url, settings)
        system = await self._system(token)
        path = self._path()
        if token is not None and not system.opened(path):
            await system.log_in(token, timeout=int(settings.timeout_s) or 1)
        return system, path

    async def size(self) -> int:
        system, path = await self._opened()
        return await system.size_of(path)

    def forget(self) -> None:
        for key, system in list(_FILESYSTEMS.items()):
            if key[0] == "root" and key[1].rpartition("@")[2] == self._netloc():
                self._loop.call_soon_threadsafe(system.forget, self._path())

    async def _system(self, token: BearerToken | None) -> GuardedXRootDFileSystem:
        name = login_name(token)
        hostid = f"{name}@{self._netloc()}" if name else urlsplit(self.url).netloc

        def make() -> GuardedXRootDFileSystem:
            bound_waiting()
            return GuardedXRootDFileSystem(hostid, loop=self._loop)

        return await _kept(("root", hostid, id(self._loop)), make)  # type: ignore[no-any-return]

    def _netloc(self) -> str:
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def _path(self) -> str:
        scheme, netloc = urlsplit(self.url)[:2]
        path = self.url.removeprefix(f"{scheme}://{netloc}")
        return path.removeprefix("/").rstrip("/")


class _HttpsSource(Source):
    """A file of a web server."""

    async def _opened(self) -> tuple[Any, str]:
        settings = self.settings()
        key = ("https", settings.timeout_s, settings.x509_ca_dir, id(self._loop))
        system = await _kept(key, lambda: https_filesystem(settings, self._loop))
        return system, self.url


class _StoreSource(Source):
    """An object of a store."""

    async def _opened(self) -> tuple[Any, str]:
        from s3fs import S3FileSystem

        options = s3_options(self.settings())
        key = ("s3", repr(sorted(options.items(), key=str)), id(self._loop))
        system = await _kept(key, lambda: S3FileSystem(loop=self._loop, **options))
        return system, self.url.removeprefix("s3://")


class _OtherSource(Source):
    """Anything else that fsspec knows, in a thread."""

    async def read(self, start: int | None, end: int | None) -> bytes:
        system, path = await asyncio.to_thread(url_to_fs, self.url)
        found = await asyncio.to_thread(system.cat_file, path, start=start, end=end)
        return bytes(found)

    async def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [await self.read(start, end) for start, end in ranges]

    async def size(self) -> int:
        system, path = await asyncio.to_thread(url_to_fs, self.url)
        return int(await asyncio.to_thread(system.size, path))


_KINDS: Final[dict[str, type[Source]]] = {
    "root": _XRootDSource,
    "xroot": _XRootDSource,
    "http": _HttpsSource,
    "https": _HttpsSource,
    "s3": _StoreSource,
}


def open_source(
    url: str, loop: asyncio.AbstractEventLoop, settings: Settings | None = None
) -> Source:
    """Return a source of a file; nothing is connected to yet.

    Parameters
    ----------
    url
        Where the file is.
    loop
        The event loop to read in.
    settings
        Settings to use; by default those that hold in this process at each request.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    return _KINDS.get(scheme, _OtherSource)(url, loop, settings)


def filesystems() -> list[Any]:
    """Return the file systems of fsspec that are in use, to close files for example."""
    return list(_FILESYSTEMS.values())


@contextmanager
def _open_handles() -> Iterator[None]:
    """Turn the error of a handle that another request has given up into a failure."""
    try:
        yield
    except ValueError as err:
        raise OSError(str(err)) from err


async def _kept(key: Any, make: Callable[[], Any]) -> Any:
    """Return a file system, the same for the same key.

    They are made in a thread: some wait for the event loop, in which this runs.
    """
    if key not in _FILESYSTEMS:

        def once() -> None:
            with _LOCK:
                if key not in _FILESYSTEMS:
                    _FILESYSTEMS[key] = make()

        await asyncio.to_thread(once)
    return _FILESYSTEMS[key]
