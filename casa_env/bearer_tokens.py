"""A bearer token and what its claims say; its value is never shown."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from casa_env.errors import TokenExpiredError, TokenInvalidError

__all__ = ["ANY_AUDIENCE", "BearerToken", "parse_token", "require_current"]

#: The audience that every WLCG service accepts (WLCG Common JWT Profiles v1.0).
ANY_AUDIENCE: Final = "https://wlcg.cern.ch/jwt/v1/any"

#: How far clocks may differ, in seconds: RFC 7519, section 4.1.5, allows minutes.
CLOCK_SKEW_S: Final = 60.0

#: RFC 6750, section 2.1: ``b64token``.
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")


@dataclass(frozen=True, kw_only=True)
class BearerToken:
    """A bearer token; its repr and its text never show the value.

    The claims are what the token says of itself (WLCG Common JWT Profiles v1.0). Its
    signature is the server's to check. A token that is no JWT has no claims.
    """

    value: str = field(repr=False)
    """The token itself: for a request's header, and for nothing else."""

    origin: str
    """Where it was found, for people: the variable, or the file and who named it."""

    expires_at: float | None = None
    """When it expires, in seconds since the epoch; ``None`` if it does not say."""

    not_before: float | None = None
    """From when it is valid, in seconds since the epoch; ``None`` if not said."""

    issuer: str = ""
    """Who issued it, a URL."""

    subject: str = ""
    """Whom it stands for."""

    audience: tuple[str, ...] = ()
    """Which services may accept it; empty if it does not say."""

    scopes: tuple[str, ...] = ()
    """What it allows, such as ``storage.read:/store``."""

    groups: tuple[str, ...] = ()
    """The groups of whom it stands for."""

    def expired(self, now: float) -> bool:
        """Tell whether it has expired.

        Parameters
        ----------
        now
            The time, in seconds since the epoch.
        """
        return self.expires_at is not None and self.expires_at <= now

    def described(self, now: float) -> str:
        """Return what it says of itself, for people, without its value.

        Parameters
        ----------
        now
            The time, in seconds since the epoch.
        """
        if self.expires_at is None:
            life = "does not say when it expires"
        else:
            at = _utc(self.expires_at)
            left = self.expires_at - now
            life = (
                f"expires {at}, in {left / 60:.0f} min" if left > 0 else f"EXPIRED {at}"
            )
        parts = [
            f"issuer {self.issuer or 'not said'}",
            f"subject {self.subject or 'not said'}",
            f"audience {', '.join(self.audience) or 'not said'}",
            f"scope {' '.join(self.scopes) or 'none'}",
        ]
        return "; ".join([life, *parts])

    def __str__(self) -> str:
        """Return where it was found, and no more."""
        return f"bearer token from {self.origin}"


def parse_token(text: str, *, origin: str) -> BearerToken:
    """Return a token and its claims.

    Parameters
    ----------
    text
        The token, without white space around it.
    origin
        Where it was found, for people.

    Raises
    ------
    TokenInvalidError
        If it is no ``b64token`` of RFC 6750, section 2.1.
    """
    if not _B64TOKEN.fullmatch(text):
        what = "What was found in place of a bearer token is none (RFC 6750)."
        step = "Get a new token; its file holds the token and nothing else."
        raise TokenInvalidError(what, looked_at=origin, next_step=step)
    claims = _claims(text)
    scope = claims.get("scope")
    return BearerToken(
        value=text,
        origin=origin,
        expires_at=_seconds(claims.get("exp")),
        not_before=_seconds(claims.get("nbf")),
        issuer=_one(claims.get("iss")),
        subject=_one(claims.get("sub")),
        audience=_several(claims.get("aud")),
        scopes=tuple(scope.split()) if isinstance(scope, str) else _several(scope),
        groups=_several(claims.get("wlcg.groups")),
    )


def require_current(token: BearerToken, now: float) -> None:
    """Raise unless a token is valid at a time, as far as it says.

    Parameters
    ----------
    token
        A token.
    now
        The time, in seconds since the epoch.

    Raises
    ------
    TokenExpiredError
        If it has expired.
    TokenInvalidError
        If it is valid only later, by more than `CLOCK_SKEW_S`.
    """
    step = "Get a new token from where you got this one; it is read anew each time."
    if token.expires_at is not None and token.expires_at <= now:
        what = f"The bearer token expired {_utc(token.expires_at)}."
        raise TokenExpiredError(what, looked_at=token.origin, next_step=step)
    if token.not_before is not None and token.not_before > now + CLOCK_SKEW_S:
        what = f"The bearer token is valid only from {_utc(token.not_before)}."
        step = "Wait, or set this machine's clock."
        raise TokenInvalidError(what, looked_at=token.origin, next_step=step)


def _claims(token: str) -> Mapping[str, Any]:
    """Return the claims of a JWT (RFC 7519); none of anything else."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return {}
    padded = parts[1] + "=" * (-len(parts[1]) % 4)
    try:
        claims = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _seconds(claim: object) -> float | None:
    """Return a NumericDate of RFC 7519."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        seconds = float(claim)
    except OverflowError:
        return None
    return seconds if math.isfinite(seconds) else None


def _one(claim: object) -> str:
    """Return a claim that is text."""
    return _printable(claim) if isinstance(claim, str) else ""


def _several(claim: object) -> tuple[str, ...]:
    """Return a claim that is a text or a list of texts."""
    listed = [claim] if isinstance(claim, str) else claim
    if not isinstance(listed, list):
        return ()
    return tuple(_printable(part) for part in listed if isinstance(part, str))


def _printable(text: str) -> str:
    """Return text that cannot steer a terminal: claims are not ours."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _utc(seconds: float) -> str:
    """Return a time for people."""
    try:
        return f"at {dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return "at an impossible time"
