"""Files with several sources: where one fails, reading goes on from the next.

A URL names its sources in order, ``failover://SOURCE|SOURCE``, so that it means the
same in every process. Any of a source's failures moves a file on. A host that does not
answer is left alone by all files for a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractBufferedFile

from fsspec_failover.breakers import BREAKERS
from fsspec_failover.failures import (
    FAILURES,
    OtherFileError,
    described,
    is_down,
    is_slow,
    no_source,
)
from fsspec_failover.report import LEDGER
from fsspec_failover.sources import Source, open_source
from fsspec_failover.urls import SCHEME, sources

logger = logging.getLogger(__name__)

#: A source that delivers less than this, in bytes per second, is given up.
SLOWEST: Final = 500_000

#: How much longer the last source is waited for: there is nothing to turn to.
LAST_PATIENCE: Final = 6

_T = TypeVar("_T")


class FailoverFileSystem(AsyncFileSystem):  # type: ignore[misc]
    """Read-only files that may come from several sources.

    Parameters
    ----------
    timeout
        How long to wait for the last source, in seconds; the ones before are waited
        for as long as `Options.timeout_s` says. coffea passes its own.
    """

    protocol = "failover"
    cachable = True

    def __init__(self, timeout: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._timeout_s = timeout
        self._preferred: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._served: dict[str, set[str]] = {}

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in path]
        return str(path).removeprefix(SCHEME)

    def unstrip_protocol(self, name: str) -> str:
        """Return a file's URL."""
        return f"{SCHEME}{self._strip_protocol(name)}"

    @classmethod
    def _parent(cls, _path: str) -> str:
        return ""  # folders are not listed

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        if end is None or end < 0 or (start or 0) < 0:
            size = (await self._info(path))["size"]
            start, end = (n + size if n and n < 0 else n for n in (start, end))
            end = size if end is None else end
        n_bytes = max(0, end - (start or 0))

        async def read(source: Source) -> bytes:
            return await source.read(start, end)

        return await self._from_some_source(path, read, n_bytes)

    async def _cat_ranges(
        self,
        paths: list[str],
        starts: list[int] | int,
        ends: list[int] | int,
        **_: Any,
    ) -> list[bytes]:
        """Read ranges of files, those of one file in one vectored request."""
        if not isinstance(starts, list):
            starts = [starts] * len(paths)
        if not isinstance(ends, list):
            ends = [ends] * len(paths)
        by_file: dict[str, list[int]] = {}
        for i, path in enumerate(paths):
            by_file.setdefault(path, []).append(i)
        found: list[bytes] = [b""] * len(paths)

        async def one_file(path: str, where: Sequence[int]) -> None:
            ranges = [(starts[i], ends[i]) for i in where]

            async def read(source: Source) -> list[bytes]:
                return await source.read_ranges(ranges)

            n_bytes = sum(stop - start for start, stop in ranges)
            chunks = await self._from_some_source(path, read, n_bytes)
            for i, chunk in zip(where, chunks, strict=True):
                found[i] = chunk

        await asyncio.gather(*(one_file(path, i) for path, i in by_file.items()))
        return found

    async def _info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)

        async def size(source: Source) -> int:
            return await source.size()

        n_bytes = await self._from_some_source(path, size, 0)
        return {"name": path, "size": n_bytes, "type": "file"}

    async def _exists(self, path: str, **_: Any) -> bool:
        try:
            await self._info(path)
        except FileNotFoundError:
            return False
        return True

    async def _isdir(self, _path: str) -> bool:
        return False

    def _open(self, path: str, mode: str = "rb", **options: Any) -> _File:
        if mode != "rb":
            msg = f"files with several sources are read-only: {mode!r} is no mode"
            raise NotImplementedError(msg)
        return _File(self, path, mode, **options)

    async def _from_some_source(
        self,
        path: str,
        read: Callable[[Source], Awaitable[_T]],
        n_bytes: int,
    ) -> _T:
        """Read from the first source that delivers; note what happened."""
        path = self._strip_protocol(path)
        urls = sources(path)
        begin = self._preferred.get(path, 0)
        waiting = [*range(begin, len(urls)), *range(begin)]
        rested: list[int] = []
        failed: list[tuple[str, Exception]] = []
        for must in (False, True):  # at last also those that are left alone
            for i in rested if must else waiting:
                source = open_source(urls[i], self.loop)
                reason = "" if must else _resting(source)
                if reason:
                    rested.append(i)
                    self._note(source, urls, reason)
                    continue
                try:
                    limit = self._limit(source, n_bytes, last=i == len(urls) - 1)
                    work = self._by(source, path, urls, read)
                    content = await asyncio.wait_for(work, limit)
                except FAILURES as err:
                    failed.append((source.url, err))
                    _break(source, err)
                    source.forget()
                    # another request may have found out before, and why
                    self._note(source, urls, _resting(source) or described(err))
                    continue
                BREAKERS.succeeded(source.host)
                BREAKERS.succeeded(source.line)
                self._preferred[path] = i
                LEDGER.read(source.host, urls[-1], _length(content))
                return content
        raise no_source(urls[-1], failed)

    async def _by(
        self,
        source: Source,
        path: str,
        urls: Sequence[str],
        read: Callable[[Source], Awaitable[_T]],
    ) -> _T:
        """Read from one source; refuse one whose file is another than before."""
        if len(urls) > 1:
            served = self._served.setdefault(path, set())
            if source.url not in served:
                size = await source.size()
                before = self._sizes.setdefault(path, size)
                if size != before:
                    msg = f"its file has {size} bytes, but {before} were there before"
                    raise OtherFileError(msg)
                served.add(source.url)
        return await read(source)

    def _limit(self, source: Source, n_bytes: int, *, last: bool) -> float:
        """Return how long to wait for a source, in seconds."""
        timeout_s = source.options.timeout_s
        if last:
            timeout_s = self._timeout_s or LAST_PATIENCE * timeout_s
        return timeout_s + n_bytes / SLOWEST

    def _note(self, source: Source, urls: Sequence[str], reason: str) -> None:
        """Note that a file is not read from a source."""
        if len(urls) > 1:
            logger.info("%s: %s; trying the next source", source.host, reason)
            LEDGER.failed_over(source.host, urls[-1], reason)


class _File(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read in blocks, each from whichever source delivers."""

    def _fetch_range(self, start: int, end: int) -> Any:
        return self.fs.cat_file(self.path, start=start, end=end)


def _resting(source: Source) -> str:
    """Return why a source's host is left alone, empty if it is not."""
    return BREAKERS.resting(source.host) or BREAKERS.resting(source.line)


def _break(source: Source, err: BaseException) -> None:
    """Leave a host alone if it is down, and not if it only lacks this file."""
    if is_slow(err):
        # a cache may be waiting for an origin, while it is well itself
        BREAKERS.failed(source.line, described(err))
    elif is_down(err):
        BREAKERS.failed(source.host, described(err))


def _length(content: object) -> int:
    """Return how many bytes were read."""
    if isinstance(content, bytes):
        return len(content)
    return sum(map(len, content)) if isinstance(content, list) else 0
