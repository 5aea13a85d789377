"""What a site wants of a token, and whether one has it: audience and scope."""

from __future__ import annotations

import posixpath
from urllib.parse import urlsplit

from casa_env.bearer_tokens import ANY_AUDIENCE, BearerToken
from casa_env.errors import TokenAudienceError, TokenScopeError
from casa_env.settings import Settings

__all__ = ["accepted_audience", "allows", "require_rules"]


def require_rules(token: BearerToken, settings: Settings) -> None:
    """Raise unless a token is what the site's settings ask for.

    Parameters
    ----------
    token
        A token.
    settings
        With ``token_audiences`` and ``token_scopes``; empty ones ask for nothing.

    Raises
    ------
    TokenAudienceError
        If it is for other services.
    TokenScopeError
        If it lacks a scope.
    """
    wanted = settings.token_audiences
    if wanted and not accepted_audience(token, wanted):
        what = (
            f"The bearer token is for {', '.join(token.audience) or 'no service'}, "
            f"and not for {' or '.join(wanted)}."
        )
        where = f"{token.origin}; token_audiences, {settings.origin('token_audiences')}"
        step = f"Get a token whose audience is {wanted[0]}."
        raise TokenAudienceError(what, looked_at=where, next_step=step)
    for scope in settings.token_scopes:
        action, _, path = scope.partition(":")
        if not allows(token, action, path):
            what = f"The bearer token has not the scope {scope} that this site needs."
            had = " ".join(token.scopes) or "none"
            where = f"{token.origin}, with the scopes: {had}"
            step = f"Get a token with the scope {scope}."
            raise TokenScopeError(what, looked_at=where, next_step=step)


def accepted_audience(token: BearerToken, wanted: tuple[str, ...]) -> bool:
    """Tell whether a token is for a service, or for any.

    Parameters
    ----------
    token
        A token.
    wanted
        Names of the service: any of them will do. A host name stands for URLs of it.
    """
    if ANY_AUDIENCE in token.audience:
        return True
    return any(
        audience == name or (urlsplit(audience).hostname or "") == name
        for audience in token.audience
        for name in wanted
    )


def allows(token: BearerToken, action: str, path: str) -> bool:
    """Tell whether a token's scopes cover an action, on a path if there is one.

    Parameters
    ----------
    token
        A token.
    action
        Such as ``storage.read``.
    path
        What is to be read; empty for an action without one.

    Notes
    -----
    A scope's path covers all that is below it (WLCG Common JWT Profiles v1.0).

    Examples
    --------
    >>> token = BearerToken(value="x", origin="", scopes=("storage.read:/store",))
    >>> allows(token, "storage.read", "/store/f"), allows(token, "storage.read", "/s")
    (True, False)
    """
    for scope in token.scopes:
        name, _, folder = scope.partition(":")
        if name != action:
            continue
        if not folder or not path or _below(path, folder):
            return True
    return False


def _below(path: str, folder: str) -> bool:
    """Tell whether a path is a folder or below it, whatever slashes it has."""
    inner, outer = (
        posixpath.normpath("/" + text.lstrip("/")).rstrip("/")
        for text in (path, folder)
    )
    return inner == outer or inner.startswith(f"{outer}/")


def _plain(path: str) -> str:
    """Return a path with single slashes, without ``..`` and without one at the end."""
    return posixpath.normpath("/" + path.lstrip("/")).rstrip("/")
