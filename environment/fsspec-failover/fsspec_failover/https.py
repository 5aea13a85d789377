"""HTTPS and WebDAV as `fsspec` reads them, with the site's authorities and tokens.

Each request, and each hop of a redirect, asks for itself whether its host may have the
token: a host that may not never gets one.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from fsspec_failover.failures import AnswerError
from fsspec_failover.hooks import HookError, Hooks, Options

#: Open connections to one server; fsspec's requests for ranges are concurrent.
MOST_CONNECTIONS: Final = 16

_GONE: Final = {404, 410}


def https_filesystem(options: Options, hooks: Hooks, loop: Any) -> HTTPFileSystem:
    """Return a file system for web servers, which works in an event loop."""
    context = ssl.create_default_context()
    if options.ca_dir is not None:
        context.load_verify_locations(capath=str(options.ca_dir))
    # none for the whole answer: who asks bounds that by its size
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=options.timeout_s, sock_read=6 * options.timeout_s
    )

    async def authorise(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send the token where it may go; `aiohttp` asks at every hop."""
        if request.url.scheme == "https":
            token = hooks.token(str(request.url))
            if token is not None:
                request.headers["Authorization"] = f"Bearer {token}"
        return await handler(request)

    async def client(**more: Any) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=context, limit_per_host=MOST_CONNECTIONS)
        return aiohttp.ClientSession(
            connector=connector, timeout=timeout, middlewares=(authorise,), **more
        )

    return HTTPFileSystem(get_client=client, loop=loop, skip_instance_cache=True)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn what aiohttp raises into what the other sources raise.

    Where fsspec asks for a size, it takes every error for a file that is not there.
    """
    try:
        yield
    except (aiohttp.ClientError, FileNotFoundError) as err:
        real = err.__cause__ or err if isinstance(err, FileNotFoundError) else err
        if isinstance(real, HookError | OSError):
            raise real  # noqa: B904 - the one that fsspec took for another
        if not isinstance(real, aiohttp.ClientResponseError):
            msg = f"{type(real).__name__}: {real}"
            raise OSError(msg) from err
        if real.status in _GONE:
            raise FileNotFoundError(str(err)) from err
        raise AnswerError(real.status, real.message) from err
