"""May these files be read with this token: asked before any worker starts."""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from casa_env.data.xcache import files_of
from casa_env.errors import CredentialsError, require_package
from casa_env.settings import Settings, load_settings
from casa_env.tokens import bearer
from casa_env.tokens.proxy import x509_proxy

logger = logging.getLogger(__name__)


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
    CredentialsError
        Its kind says what is wrong with the token: ``missing``, ``expired``,
        ``invalid`` (no token, or not valid yet), ``audience`` (for other services),
        ``scope`` (not for these files), or ``refused`` where it does not show why.
    """
    settings = settings or load_settings()
    require_package("fsspec-failover", why="Asking servers for files")
    from fsspec_failover import Hooks, refused, sources

    now = time.time()
    proxy = x509_proxy(settings) if settings.x509_proxy else None
    if proxy is not None and proxy.expires_at < now + bearer.SOON_S:
        logger.warning("the X.509 proxy %s", proxy.described(now))
    everywhere = (where for _, url in files_of(fileset) for where in sources(url))
    guarded = [url for url in everywhere if bearer.may_send_token(url, settings)]
    first = {urlsplit(url).netloc: url for url in reversed(guarded)}
    if not first:
        return
    token = bearer.bearer_token(settings)
    if token is None:
        what = f"Reading from {', '.join(first)} needs a bearer token; there is none."
        raise CredentialsError(
            what,
            looked_at="BEARER_TOKEN, BEARER_TOKEN_FILE, XDG_RUNTIME_DIR, /tmp",
            next_step="Get a token, or name its file with BEARER_TOKEN_FILE.",
            kind="missing",
        )
    bearer.require_current(token, now)
    bearer.require_rules(token, settings)
    if token.ends_soon(now):
        logger.warning("the bearer token %s", token.described(now).partition(";")[0])
    hooks = Hooks(
        token_for=partial(bearer.token_value, settings=settings),
        options_for=partial(bearer.reading_options, settings=settings),
    )
    for url in first.values():
        if refused(url, settings.timeout_s, hooks=hooks):
            raise _refusal(url, token)


def _refusal(url: str, token: bearer.BearerToken) -> CredentialsError:
    """Return what the token itself shows to be wrong with it for a file."""
    host, path = urlsplit(url).hostname or "", urlsplit(url).path
    if token.audience and not bearer.is_for(token, (host,)):
        problem, kind = ": it is for other services", "audience"
        step = f"Get a token whose audience is {host}."
    elif token.issuer and not bearer.allows(token, "storage.read", path):
        problem, kind = ": it does not allow this to be read", "scope"
        step = f"Get a token with the scope storage.read: and a folder above {path}."
    else:
        problem, kind = "", "refused"
        step = "Get a new token, from an issuer that this server trusts."
    what = f"{host} refused the bearer token{problem}."
    where = f"{url}; {token.described(time.time())}; {token.origin}"
    return CredentialsError(what, looked_at=where, next_step=step, kind=kind)
