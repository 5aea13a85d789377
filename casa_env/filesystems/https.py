"""HTTPS and WebDAV as `fsspec` reads them, with the site's authorities and tokens.

Each request, and each hop of a redirect, asks for itself whether its host may have the
token, which is read anew: a host that is not on the site's list never gets one.
"""

from __future__ import annotations

import ssl
from typing import Any, Final

import aiohttp
from fsspec.implementations.http import HTTPFileSystem

from casa_env.credentials import token_for
from casa_env.received import settings_here
from casa_env.settings import Settings

__all__ = ["https_filesystem"]

#: Open connections to one server; fsspec's requests for ranges are concurrent.
MOST_CONNECTIONS: Final = 16


def https_filesystem(settings: Settings, loop: Any) -> HTTPFileSystem:
    """Return a file system for ``https://`` URLs.

    Parameters
    ----------
    settings
        For the time-out and the directory of certificate authorities.
    loop
        The event loop to work in.
    """
    context = _context(settings)
    # none for the whole answer: who asks bounds that by its size
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=settings.timeout_s, sock_read=6 * settings.timeout_s
    )

    async def client(**options: Any) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(ssl=context, limit_per_host=MOST_CONNECTIONS)
        return aiohttp.ClientSession(
            connector=connector,
            timeout=timeout,
            middlewares=(_authorise,),
            **options,
        )

    return HTTPFileSystem(get_client=client, loop=loop, skip_instance_cache=True)


async def _authorise(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send the token where it may go; `aiohttp` asks at every hop."""
    if request.url.scheme == "https":
        token = token_for(str(request.url), settings_here())
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token.value}"
    return await handler(request)


def _context(settings: Settings) -> ssl.SSLContext:
    """Return which certificates are trusted: the system's and the site's."""
    context = ssl.create_default_context()
    if settings.x509_ca_dir is not None:
        context.load_verify_locations(capath=str(settings.x509_ca_dir))
    return context
