"""May these files be read with this token: asked before any worker starts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from casa_env.bearer_tokens import BearerToken, require_current
from casa_env.credentials import bearer_token, may_send_token
from casa_env.errors import (
    CredentialsError,
    TokenAudienceError,
    TokenMissingError,
    TokenRefusedError,
    TokenScopeError,
)
from casa_env.settings import Settings, load_settings
from casa_env.token_rules import accepted_audience, allows, require_rules
from casa_env.x509 import X509Proxy, x509_proxy
from casa_env.xcache import sources

__all__ = ["check_access"]

logger = logging.getLogger(__name__)

#: Credentials that end within this time, in seconds, are warned of.
SOON_S: Final = 1800.0

_READ: Final = "storage.read"


def check_access(fileset: Any, settings: Settings | None = None) -> None:  # noqa: ANN401 - coffea's shapes
    """Raise if the token does not let these files be read; ask each server once.

    On a laptop and on Binder no host wants a token, and nothing is asked. At a
    facility the token is looked at, and the first file of each host on the site's list
    is opened with it. Call it before workers start: the error then comes at once, and
    not from each of them. A host that is down is no error here; reading goes around it.

    Parameters
    ----------
    fileset
        As for `xcache_fileset`.
    settings
        Settings to use; by default those of this place.

    Raises
    ------
    TokenMissingError
        If a host wants a token and there is none.
    TokenExpiredError
        If the token has expired.
    TokenInvalidError
        If what was found is no token, or not valid yet.
    TokenAudienceError
        If the token is for other services.
    TokenScopeError
        If the token does not allow these files to be read.
    TokenRefusedError
        If a server refused the token, and it does not show why.
    """
    settings = settings or load_settings()
    first: dict[str, str] = {}
    for url in _files(fileset):
        for source in sources(url):
            if may_send_token(source, settings):
                first.setdefault(urlsplit(source).netloc, source)
    _warn_of_proxy(settings)
    if not first:
        return
    token = bearer_token(settings)
    hosts = ", ".join(first)
    if token is None:
        what = f"Reading from {hosts} needs a bearer token, and there is none."
        raise TokenMissingError(
            what,
            looked_at="BEARER_TOKEN, BEARER_TOKEN_FILE, XDG_RUNTIME_DIR, /tmp",
            next_step="Get a token, or name its file with BEARER_TOKEN_FILE.",
        )
    now = time.time()
    require_current(token, now)
    require_rules(token, settings)
    if token.expires_at is not None and token.expires_at < now + SOON_S:
        logger.warning("the bearer token %s", token.described(now).partition(";")[0])
    for url in first.values():
        if _refused(url, settings):
            raise _refusal(url, token)


def _files(fileset: Any) -> Iterable[str]:  # noqa: ANN401 - coffea's shapes
    """Give the URLs of a fileset."""
    if isinstance(fileset, list | tuple):
        for item in fileset:
            yield item if isinstance(item, str) else item.filename
    elif isinstance(fileset, Mapping) or hasattr(fileset, "values"):
        for dataset in fileset.values():
            files = dataset
            if isinstance(dataset, Mapping) and "files" in dataset:
                files = dataset["files"]
            elif hasattr(dataset, "files"):
                files = dataset.files
            yield from files


def _refused(url: str, settings: Settings) -> bool:
    """Ask a server for the beginning of a file; tell whether it refused us."""
    from fsspec.asyn import get_loop, sync

    from casa_env.filesystems.failures import FAILURES, is_refusal, worded
    from casa_env.filesystems.sources import open_source

    loop = get_loop()
    source = open_source(url, loop, settings)

    async def read() -> bytes:
        return await source.read(0, 4)

    try:
        sync(loop, read, timeout=settings.timeout_s)
    except CredentialsError:
        raise
    except FAILURES as err:
        if is_refusal(err):
            return True
        logger.info("%s: %s", source.host, worded(err))
    return False


def _refusal(url: str, token: BearerToken) -> CredentialsError:
    """Return what the token itself shows to be wrong with it for a file."""
    host, path = urlsplit(url).hostname or "", urlsplit(url).path
    where = f"{url}; {token.described(time.time())}; {token.origin}"
    if token.audience and not accepted_audience(token, (host,)):
        what = f"{host} refused the bearer token: it is for other services."
        step = f"Get a token whose audience is {host}."
        return TokenAudienceError(what, looked_at=where, next_step=step)
    if not allows(token, _READ, path):
        what = f"{host} refused the bearer token: it does not allow this to be read."
        step = f"Get a token with the scope {_READ}: and a folder above {path}."
        return TokenScopeError(what, looked_at=where, next_step=step)
    what = f"{host} refused the bearer token."
    step = "Get a new token, from an issuer that this server trusts."
    return TokenRefusedError(what, looked_at=where, next_step=step)


def _warn_of_proxy(settings: Settings) -> None:
    """Warn of an X.509 proxy that ends soon; one that cannot be read is an error."""
    if settings.x509_proxy is None:
        return
    proxy: X509Proxy | None = x509_proxy(settings)
    now = time.time()
    if proxy is not None and proxy.expires_at < now + SOON_S:
        logger.warning("the X.509 proxy %s", proxy.described(now))
