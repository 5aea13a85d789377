"""The user's bearer token: where it is found, what it says, whom it may be sent to.

The search is WLCG Bearer Token Discovery v1.0. A token's value is never shown: not in
a repr, a message or a log.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from casa_env.bearer_tokens import BearerToken, parse_token, require_current
from casa_env.errors import CredentialsError, TokenInvalidError
from casa_env.network import host_and_port
from casa_env.settings import Settings, load_settings

__all__ = [
    "BearerToken",
    "bearer_token",
    "may_send_token",
    "token_for",
]

#: What C99's ``isspace`` calls white space in the C locale.
WHITE_SPACE: Final = " \t\n\v\f\r"

#: The last step's folder; the specification names it, whatever ``TMPDIR`` says.
TMP: Final = Path("/tmp")  # noqa: S108 - the specification's

#: Larger files are no tokens: servers take no longer headers (commonly 8 to 64 KiB).
MOST_BYTES: Final = 1_000_000

_HOST: Final = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:/\[\]]+)(?::(?P<port>\d{1,5}))?"
)


def bearer_token(
    settings: Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    tmp: Path = TMP,
) -> BearerToken | None:
    """Find the user's bearer token, by reading its file anew.

    On a laptop and on Binder there usually is none. At a facility the login, or the
    site's settings, say where it is. A token that was renewed is found by the next
    call; nothing is kept.

    Parameters
    ----------
    settings
        Settings to use; by default those of this place.
    environ
        Environment variables, for ``XDG_RUNTIME_DIR``; by default this process's.
    tmp
        The last step's folder.

    Returns
    -------
    BearerToken or None
        ``None`` if no step of the discovery yields a token. An expired token is
        returned: `token_for` refuses it.

    Raises
    ------
    TokenInvalidError
        If the first thing found is no token (RFC 6750, section 2.1).
    CredentialsError
        If a file that was named is missing, or a file cannot be read.
    SettingsError
        If the settings themselves are wrong.

    Notes
    -----
    WLCG Bearer Token Discovery v1.0: ``BEARER_TOKEN``; the file ``BEARER_TOKEN_FILE``;
    ``$XDG_RUNTIME_DIR/bt_u$ID`` if that variable is set; otherwise ``/tmp/bt_u$ID``,
    with the effective user id. White space around is removed; what is empty then does
    not count, and what is no token ends the search with an error. The settings
    ``bearer_token`` and ``bearer_token_file`` are the first two steps; a facility's
    own path comes through the second and adds none. Where ``XDG_RUNTIME_DIR`` is set
    and the file is not there, ``/tmp`` is not looked at: the fourth step is for
    systems without such a folder.
    """
    settings = settings or load_settings()
    environ = os.environ if environ is None else environ
    for text, origin in _steps(settings, environ, tmp):
        stripped = text.strip(WHITE_SPACE)
        if stripped:
            return parse_token(stripped, origin=origin)
    return None


def _steps(
    settings: Settings, environ: Mapping[str, str], tmp: Path
) -> Iterator[tuple[str, str]]:
    """Give what each step of the discovery finds, and where, in order."""
    if settings.bearer_token:
        yield settings.bearer_token, settings.origin("bearer_token")
    if settings.bearer_token_file is not None:
        file = settings.bearer_token_file
        origin = f"{file}, from {settings.origin('bearer_token_file')}"
        try:
            yield _content(file, origin), origin
        except FileNotFoundError as err:
            # The next step could find the token of somebody else's choice.
            what = "The file that was named for the bearer token is not there."
            step = "Get a token, or correct bearer_token_file (BEARER_TOKEN_FILE)."
            raise CredentialsError(what, looked_at=origin, next_step=step) from err
    name = f"bt_u{os.geteuid()}"
    runtime = environ.get("XDG_RUNTIME_DIR")
    for folder in [Path(runtime), tmp] if runtime else [tmp]:
        origin = str(folder / name)
        try:
            yield _content(folder / name, origin), origin
        except FileNotFoundError:
            return


def _content(file: Path, origin: str) -> str:
    """Read a token's file; bytes that are no text stay what no token may hold."""
    try:
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as err:
        what = f"The bearer token's file cannot be read: {err.strerror or err}."
        step = "Correct its permissions, or the setting bearer_token_file."
        raise CredentialsError(what, looked_at=origin, next_step=step) from err
    if len(content) > MOST_BYTES:
        what = "The file that was named for the bearer token is too long to hold one."
        step = "Correct bearer_token_file (BEARER_TOKEN_FILE)."
        raise TokenInvalidError(what, looked_at=origin, next_step=step)
    return content.decode("ascii", errors="replace")


def token_for(
    url: str, settings: Settings | None = None, *, now: float | None = None
) -> BearerToken | None:
    """Return the token for a request to a server, if it may have one.

    On a laptop and on Binder no host is on the list, so there is none to send. At a
    facility it is the user's token for the hosts that the site's file lists.

    Parameters
    ----------
    url
        Where the request goes, such as ``https://storage.example.org:1094/store/x``.
    settings
        Settings to use; by default those of this place.
    now
        The time, in seconds since the epoch; by default the clock's.

    Returns
    -------
    BearerToken or None
        ``None`` if the host is not one of ``token_hosts``, or if there is no token.

    Raises
    ------
    TokenExpiredError, TokenInvalidError
        If the token has expired, or is not valid yet.
    CredentialsError
        As `bearer_token`.
    """
    settings = settings or load_settings()
    if not may_send_token(url, settings):
        return None
    token = bearer_token(settings)
    if token is not None:
        require_current(token, time.time() if now is None else now)
    return token


def may_send_token(url: str, settings: Settings | None = None) -> bool:
    """Tell whether the site's list has a server: no other ever gets a token.

    On a laptop and on Binder the list is empty and the answer no.

    Parameters
    ----------
    url
        A URL, or ``host`` or ``host:port`` alone.
    settings
        Settings to use; by default those of this place.

    Returns
    -------
    bool
        Whether one of ``token_hosts`` is the URL's host. An entry with a port,
        ``host:port``, stands for that port only; ``.example.org`` for every host
        below that domain. Names are compared as they are written: no alias is
        resolved.

    Examples
    --------
    >>> settings = Settings(token_hosts=("storage.example.org", "eos.example.org:8443"))
    >>> may_send_token("root://storage.example.org//store/f.root", settings)
    True
    >>> may_send_token("https://eos.example.org/f.root", settings)
    False
    """
    settings = settings or load_settings()
    target = _host_of(url)
    if target is None:
        return False
    return any(_matches(entry, *target) for entry in settings.token_hosts)


def _host_of(url: str) -> tuple[str, int | None] | None:
    """Return host and port, in lower case, of a URL or of ``host[:port]``."""
    if "://" in url:
        found = host_and_port(url)
        return (found[0].rstrip(".").lower(), found[1]) if found else None
    match = _HOST.fullmatch(url)
    if match is None:
        return None
    port = int(match["port"]) if match["port"] else None
    return match["host"].strip("[]").rstrip(".").lower(), port


def _matches(entry: str, host: str, port: int | None) -> bool:
    """Tell whether an entry of the list stands for a host and port."""
    listed = _host_of(entry)
    if listed is None:
        return False
    name, only = listed
    same = host.endswith(name) if name.startswith(".") else host == name
    return same and only in (None, port)
