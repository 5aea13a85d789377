"""The user's bearer token: where it is found, what it claims, whom it may be sent to.

The search is WLCG Bearer Token Discovery v1.0. No repr, message or log shows a token.
A worker has what its client delivered, in this process's memory and nowhere else.
"""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import json
import math
import os
import posixpath
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from casa_env.errors import CredentialsError
from casa_env.network import host_and_port, is_loopback
from casa_env.settings import Settings, load_settings
from casa_env.settings.places import content_of

#: Users are warned of credentials that end within this time, in seconds.
SOON_S: Final = 1800.0

#: How long the first request waits for a delivery that was announced, and for how long
#: requests share settings, in seconds: their files cost more than a range of a file.
_WAIT_S: Final = 20.0
_SHARED_S: Final = 1.0

#: How far clocks may differ, in seconds: RFC 7519, section 4.1.5, allows minutes.
_CLOCK_SKEW_S: Final = 60.0

#: Every WLCG service accepts this audience (WLCG Common JWT Profiles v1.0).
_ANY_AUDIENCE: Final = "https://wlcg.cern.ch/jwt/v1/any"

#: Larger files are no tokens: servers take no longer headers (commonly 8 to 64 KiB).
_MOST_BYTES: Final = 1_000_000

#: RFC 6750, section 2.1, ``b64token``; around it, what C99's ``isspace`` calls space.
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9\-._~+/]+=*")
_WHITE_SPACE: Final = " \t\n\v\f\r"

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+)(?::(\d{1,5}))?")


@dataclass(frozen=True, kw_only=True)
class BearerToken:
    """A token and what it claims, unchecked; no text of it shows the value."""

    value: str = field(repr=False)
    origin: str
    expires_at: float | None = None
    not_before: float | None = None
    issuer: str = ""
    subject: str = ""
    audience: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    def ends_soon(self, now: float) -> bool:
        """Tell whether the user should be warned of its end."""
        return self.expires_at is not None and self.expires_at < now + SOON_S

    def described(self, now: float) -> str:
        """Return its claims, for people."""
        life = "does not say when it expires"
        if self.expires_at is not None:
            left = self.expires_at - now
            life = f"EXPIRED {utc(self.expires_at)}"
            if left > 0:
                life = f"expires {utc(self.expires_at)}, in {left / 60:.0f} min"
        return (
            f"{life}; issuer {self.issuer or 'not said'}; "
            f"subject {self.subject or 'not said'}; "
            f"audience {', '.join(self.audience) or 'not said'}; "
            f"scope {' '.join(self.scopes) or 'none'}"
        )


def parse_token(text: str, *, origin: str) -> BearerToken:
    """Return a token and its claims; raise for what is no ``b64token`` of RFC 6750."""
    if not _B64TOKEN.fullmatch(text):
        what = "What was found is not a bearer token (RFC 6750)."
        step = "Get a new token; its file holds the token and nothing else."
        raise CredentialsError(what, looked_at=origin, next_step=step, kind="invalid")
    claims: Any = None
    with contextlib.suppress(ValueError, TypeError, RecursionError):  # others have none
        match text.split("."):
            case [_, content, _]:
                claims = json.loads(base64.urlsafe_b64decode(content + "=="))
            case [content]:
                claims = _caveats(base64.urlsafe_b64decode(content + "=="))
    if not isinstance(claims, dict):
        claims = {}
    scope = claims.get("scope")
    return BearerToken(
        value=text,
        origin=origin,
        expires_at=_seconds(claims.get("exp")),
        not_before=_seconds(claims.get("nbf")),
        issuer="".join(_texts(claims.get("iss"))[:1]),
        subject="".join(_texts(claims.get("sub"))[:1]),
        audience=_texts(claims.get("aud")),
        scopes=_texts(scope.split() if isinstance(scope, str) else scope),
    )


def _caveats(content: bytes) -> dict[str, Any]:
    """Return what a macaroon of the format's first version says, as a JWT's claims.

    A packet is its length in four digits, a key, a value. Caveats are those of XRootD
    and dCache. All of them hold: the first end, and what each list of activities has.
    """
    found: dict[str, list[str]] = {}
    while content:
        length = int(content[:4], 16)
        if length <= len("0000"):
            raise ValueError(length)
        key, _, value = content[4:length].decode(errors="replace").partition(" ")
        content, value = content[length:], value.rstrip("\n")
        if key == "cid":
            key, _, value = value.partition(":")
        found.setdefault(key, []).append(value)
    activities = [set(text.split(",")) for text in found.get("activity", ())]
    allowed = set.intersection(*activities) if activities else {"DOWNLOAD"}
    path = found.get("path", ["/"])[-1]
    ends = [dt.datetime.fromisoformat(text) for text in found.get("before", ())]
    return {
        "exp": min(ends).timestamp() if ends else None,
        "iss": found.get("location"),
        "sub": found.get("name"),
        "scope": [f"storage.read:{path}"] if "DOWNLOAD" in allowed else [],
    }


def _seconds(claim: object) -> float | None:
    """Return a NumericDate of RFC 7519, if a claim is one."""
    with contextlib.suppress(OverflowError):
        if type(claim) in (int, float) and math.isfinite(seconds := float(claim)):  # type: ignore[arg-type]
            return seconds
    return None


def _texts(claim: object) -> tuple[str, ...]:
    """Return a claim that is a text or several, so that it cannot steer a terminal."""
    several = claim if isinstance(claim, list) else [claim]
    texts = (part for part in several if isinstance(part, str))
    return tuple("".join(c if c.isprintable() else "?" for c in text) for text in texts)


def utc(seconds: float) -> str:
    """Return a time since the epoch, for people."""
    try:
        return f"at {dt.datetime.fromtimestamp(seconds, dt.UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):
        return "at an impossible time"


def bearer_token(
    settings: Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    tmp: Path = Path("/tmp"),  # noqa: S108 - the specification names it
) -> BearerToken | None:
    """Find the user's bearer token, by reading its file anew.

    On a laptop and on Binder there usually is none. At a facility the login, or the
    site's settings, say where it is. A renewed token is found by the next call.

    Parameters
    ----------
    settings
        Settings to use; by default those of this place.
    environ, tmp
        Where ``XDG_RUNTIME_DIR`` is looked up, and the last step's folder.

    Returns
    -------
    BearerToken or None
        ``None`` if no step of the discovery yields one. An expired one is returned.

    Raises
    ------
    CredentialsError
        If the first thing found is no token (kind ``invalid``), if a file that was
        named is ``missing``, or if a file cannot be read.

    Notes
    -----
    WLCG Bearer Token Discovery v1.0: ``BEARER_TOKEN``, ``BEARER_TOKEN_FILE`` (both are
    settings, too), ``$XDG_RUNTIME_DIR/bt_u$ID`` if that is set, and ``/tmp/bt_u$ID``.
    """
    settings = settings or load_settings()
    environ = os.environ if environ is None else environ
    for content, origin in _discovered(settings, environ, tmp):
        text = content.strip(_WHITE_SPACE)
        if text:
            return parse_token(text, origin=origin)
    return None


def _discovered(
    settings: Settings, environ: Mapping[str, str], tmp: Path
) -> Iterator[tuple[str, str]]:
    """Yield what each step finds, and where, in order."""
    if settings.bearer_token:
        yield settings.bearer_token, settings.origin("bearer_token")
    named = settings.bearer_token_file
    if named is not None:
        origin = f"{named}, from {settings.origin('bearer_token_file')}"
        yield _content(named, origin, required=True) or "", origin
    runtime = environ.get("XDG_RUNTIME_DIR")
    for folder in [Path(runtime), tmp] if runtime else [tmp]:
        file = folder / f"bt_u{os.geteuid()}"
        content = _content(file, str(file))
        if content is None:
            return  # /tmp is for systems without a runtime folder
        yield content, str(file)


def _content(file: Path, origin: str, *, required: bool = False) -> str | None:
    """Return what a token's file holds; bytes that are no text stay no token."""
    kind = ""
    cause: OSError | None = None
    try:
        content = content_of(file, named=required, most=_MOST_BYTES + 1)
        if len(content) <= _MOST_BYTES:
            return content.decode("ascii", errors="replace")
        problem, kind = "is too long to hold one", "invalid"
    except FileNotFoundError as err:
        if not required:
            return None
        # the next step could find the token of somebody else's choice
        problem, kind, cause = "is not there", "missing", err
    except OSError as err:
        problem, cause = f"cannot be read: {err.strerror or err}", err
    what = f"The bearer token's file {problem}."
    step = "Get a token, or correct bearer_token_file (BEARER_TOKEN_FILE)."
    raise CredentialsError(what, looked_at=origin, next_step=step, kind=kind) from cause


def require_current(token: BearerToken, now: float) -> None:
    """Raise unless a token is valid at a time, as far as it says."""
    where = token.origin
    if token.expires_at is not None and token.expires_at <= now:
        what = f"The bearer token expired {utc(token.expires_at)}."
        step = "Get a new token from where you got this one; it is read anew each time."
        raise CredentialsError(what, looked_at=where, next_step=step, kind="expired")
    if token.not_before is not None and token.not_before > now + _CLOCK_SKEW_S:
        what = f"The bearer token is valid only from {utc(token.not_before)}."
        step = "Wait, or set this machine's clock."
        raise CredentialsError(what, looked_at=where, next_step=step, kind="invalid")


def require_rules(token: BearerToken, settings: Settings) -> None:
    """Raise unless a token has the audience and the scopes that the site asks for."""
    wanted = settings.token_audiences
    if wanted and not is_for(token, wanted):
        what = (
            f"The bearer token is for {', '.join(token.audience) or 'no service'}, "
            f"and not for {' or '.join(wanted)}."
        )
        where = f"{token.origin}; token_audiences, {settings.origin('token_audiences')}"
        step = f"Get a token whose audience is {wanted[0]}."
        raise CredentialsError(what, looked_at=where, next_step=step, kind="audience")
    for scope in settings.token_scopes:
        action, _, path = scope.partition(":")
        if not allows(token, action, path):
            what = f"The bearer token lacks the scope {scope}, which this site needs."
            where = f"{token.origin}, with scopes: {' '.join(token.scopes) or 'none'}"
            step = f"Get a token with the scope {scope}."
            raise CredentialsError(what, looked_at=where, next_step=step, kind="scope")


def is_for(token: BearerToken, names: tuple[str, ...]) -> bool:
    """Tell whether a token's audience is one of these names or hosts, or any."""
    audience = {*token.audience, *(urlsplit(a).hostname for a in token.audience)}
    return bool(audience & {_ANY_AUDIENCE, *names})


def allows(token: BearerToken, action: str, path: str = "") -> bool:
    """Tell whether a token's scopes cover an action, on a path and all below it."""
    for scope in token.scopes:
        name, _, folder = scope.partition(":")
        inner, outer = (
            posixpath.normpath("/" + text.lstrip("/")).rstrip("/") + "/"
            for text in (path, folder)
        )
        if name == action and (not folder or not path or inner.startswith(outer)):
            return True
    return False


def may_send_token(url: str, settings: Settings) -> bool:
    """Tell whether ``token_hosts`` has a server, by a URL, ``host`` or ``host:port``.

    An entry with a port is for that port only; ``.example.org`` is every host below
    that domain. Names are compared as they are written: no alias is resolved.
    """
    host, port = _server(url)
    for entry in settings.token_hosts:
        name, only = _server(entry)
        same = host.endswith(name) if name.startswith(".") else host == name
        if host and name and same and only in (None, port):
            return True
    return False


def _server(url: str) -> tuple[str, int | None]:
    """Return host and port, in lower case; no host where there is none."""
    if "://" in url:
        host, port = host_and_port(url) or ("", None)
        return host.rstrip(".").lower(), port
    match = _HOST.fullmatch(url)
    if match is None:
        return "", None
    return match[1].strip("[]").rstrip(".").lower(), int(match[2]) if match[2] else None


def token_for(
    url: str, settings: Settings | None = None, *, now: float | None = None
) -> BearerToken | None:
    """Return the token for a request, if the site's list lets its server have one.

    None crosses a network in clear text (RFC 6750, section 5.3; XRootD's own protocol
    sends tokens over TLS only). One that is not valid now raises `CredentialsError`.
    """
    settings = settings or settings_here()
    in_clear = url.lower().startswith("http:") and not is_loopback(_server(url)[0])
    if in_clear or not may_send_token(url, settings):
        return None
    token = bearer_token(settings)
    if token is not None:
        require_current(token, time.time() if now is None else now)
    return token


@dataclass(frozen=True)
class Delivery:
    """What a client gives its workers: the token, and its own settings of data."""

    token: BearerToken | None = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False, default_factory=dict)


class _Place:
    """Where this process keeps what it was given, and what follows from that."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.arrived.set()  # nothing is waited for until it is announced
        self.delivery: Delivery | None = None
        self.shared: tuple[float, object, Settings] | None = None


_PLACE: Final = _Place()


def expect_delivery() -> None:
    """Announce a delivery: the first request waits for it, for a bounded time."""
    if _PLACE.delivery is None:
        _PLACE.arrived.clear()


def receive(delivery: Delivery) -> None:
    """Put a delivery in the place of the one before."""
    _PLACE.delivery = delivery
    _PLACE.arrived.set()


def settings_here() -> Settings:
    """Return this process's settings, with what its client delivered on top."""
    if not _PLACE.arrived.wait(_WAIT_S):
        _PLACE.arrived.set()  # waited once: it does not come
    delivery, now = _PLACE.delivery, time.monotonic()
    made_from = delivery, dict(os.environ)
    shared = _PLACE.shared
    if shared is not None and now < shared[0] and shared[1] == made_from:
        return shared[2]
    given = dict(delivery.settings) if delivery else {}
    if delivery is not None and delivery.token is not None:
        given["bearer_token"] = delivery.token.value
    settings = load_settings(**given)
    _PLACE.shared = now + _SHARED_S, made_from, settings
    return settings


def token_value(url: str, settings: Settings | None = None) -> str | None:
    """Return the token for a request: the hook ``token_for`` of `fsspec_failover`."""
    token = token_for(url, settings)
    return token.value if token else None


def reading_options(url: str, settings: Settings | None = None) -> dict[str, Any]:
    """Return how to read a source: the hook ``options_for`` of `fsspec_failover`."""
    from casa_env.data.xcache import s3_options

    settings = settings or settings_here()
    options = {"timeout_s": settings.timeout_s, "ca_dir": settings.x509_ca_dir}
    return options | {"s3": s3_options(settings)} if url.startswith("s3:") else options
