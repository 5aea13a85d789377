"""XRootD as `fsspec_xrootd` reads it, with bounded waiting, and tokens to few hosts.

XRootD's client gives the user's bearer token to every server that asks for one over
TLS, wherever it finds one, and also where it is redirected to. Here it is told not to
by the URL of each file (``xrd.wantprot``). A host of the site's list is logged in to
beforehand, by a request that is never redirected; the file is then opened over that
connection, and a server that this one redirects to gets no token. The login name in
the URL stands for one token: with another token comes another connection.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fsspec_xrootd.xrootd import XRootDFileSystem, _async_wrap
from XRootD import client

#: Ways to log in that send nothing which could be used again elsewhere.
PROTOCOLS: Final = "gsi,krb5,sss,unix,host"

#: The client's variables (XRootD client configuration), where the user's environment
#: has none. By default a refused connection is tried again for 120 s, five times, a
#: request is waited for 30 minutes, and a server that hung up is left alone for
#: 30 minutes, in which every request fails.
WAITING: Final = {
    "ConnectionWindow": 5,
    "ConnectionRetry": 1,
    "RequestTimeout": 60,
    "StreamTimeout": 30,
    "StreamErrorWindow": 5,
    "TimeoutResolution": 1,
}

_NAMES: Final[dict[str, str]] = {}
_LOCK: Final = threading.Lock()

#: One at a time: what the client finds is the process's.
_LOGGING_IN: Final = asyncio.Lock()


def bound_waiting() -> None:
    """Tell XRootD's client not to wait for minutes, unless the user has told it how.

    It counts for connections made from now on. Nothing is written to ``os.environ``;
    the client itself lets ``XRD_*`` variables win.
    """
    for name, value in WAITING.items():
        client.EnvPutInt(name, value)


def login_name(token: str | None) -> str:
    """Return the name that stands for a token on connections; empty for none."""
    if token is None:
        return ""
    with _LOCK:
        # random, so that it says nothing about the token; at most 8 characters fit
        return _NAMES.setdefault(token, f"c{secrets.token_hex(3)}")


class GuardedXRootDFileSystem(XRootDFileSystem):
    """A server's files, with our name for the token in its ``hostid``."""

    def __init__(self, hostid: str, scheme: str = "root", **options: Any) -> None:
        super().__init__(hostid, locate_all_sources=False, **options)
        self.protocol = scheme  # with an s at its end, nothing goes in clear text
        url = f"{scheme}://{hostid}/?xrd.wantprot={PROTOCOLS}"
        self._myclient = client.FileSystem(url)

    def unstrip_protocol(self, name: str) -> str:
        """Return a file's URL, with the ways to log in."""
        url: str = super().unstrip_protocol(name)
        if "xrd.wantprot=" in url:
            return url
        return f"{url}{'&' if '?' in url else '?'}xrd.wantprot={PROTOCOLS}"

    async def log_in(self, token: str, *, timeout: int) -> None:
        """Let this host check a token; the connection is then used for the files."""
        async with _LOGGING_IN:
            with _offered(token):
                system = client.FileSystem(f"{self.protocol}://{self.hostid}/")
                status, _ = await _async_wrap(system.ping)(timeout=timeout)
        if not status.ok:
            msg = f"Failed to log in: {status.message}"
            raise OSError(msg)

    async def size_of(self, path: str) -> int:
        """Return a file's size, which the server said when the file was opened."""
        handle = await self._readonly_filehandle_cache._open(
            self.unstrip_protocol(path), self.timeout
        )
        status, about = await _async_wrap(handle.stat)(timeout=self.timeout)
        if not status.ok:
            msg = f"Failed to look at the file: {status.message}"
            raise OSError(msg)
        return int(about.size)

    def forget(self, path: str) -> None:
        """Open a file anew at the next request; its handle has failed."""
        cache = self._readonly_filehandle_cache._cache
        item = cache.pop(self.unstrip_protocol(path), None)
        if item is not None:
            item.handle.close(callback=lambda *_: None)

    def opened(self, path: str) -> bool:
        """Tell whether there is an open handle of a file."""
        return self.unstrip_protocol(path) in self._readonly_filehandle_cache._cache


@contextmanager
def _offered(token: str) -> Iterator[None]:
    """Let XRootD's client find this token while the block lasts.

    It looks at ``BEARER_TOKEN`` of the process first, whatever the URL says, and at
    no token file that others may read (XRootD 6.2, ``XrdSecProtocolztn.cc``). Where
    that would be another token, such as an older one of a worker's batch job, the
    process's variable is set for the time of one request; ``os.environ`` is not.
    """
    before = os.environ.get("BEARER_TOKEN", "")
    if before.strip() == token or (not before and _in_private_file(token)):
        yield
        return
    os.putenv("BEARER_TOKEN", token)
    try:
        yield
    finally:
        if "BEARER_TOKEN" in os.environ:
            os.putenv("BEARER_TOKEN", before)
        else:
            os.unsetenv("BEARER_TOKEN")


def _in_private_file(token: str) -> bool:
    """Tell whether ``BEARER_TOKEN_FILE`` holds a token, and nobody else may read it."""
    file = Path(os.environ.get("BEARER_TOKEN_FILE", ""))
    try:
        closed = not file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        return closed and file.read_text().strip() == token
    except (OSError, ValueError):
        return False
