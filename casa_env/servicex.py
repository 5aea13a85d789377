"""ServiceX: its client's configuration from the site's settings, in a file of our own.

The client looks for ``.servicex`` or ``servicex.yaml`` from the working directory
upwards. Those are the user's: they are neither read nor written here.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from casa_env.credentials import token_for
from casa_env.errors import CredentialsError
from casa_env.settings import Settings, load_settings

__all__ = ["servicex_answer", "servicex_config"]

#: What our endpoint is called in the configuration.
NAME: Final = "casa-env"


@contextlib.contextmanager
def servicex_config(
    settings: Settings | None = None, *, environ: os._Environ[str] | None = None
) -> Iterator[str]:
    """Give the ``config_path`` for `servicex.deliver`, while the block lasts.

    On a laptop and on Binder there is no ServiceX unless the user names one. At a
    facility it is the site's, with the token from its web page
    (``servicex_token_file``), or else the user's bearer token, if its host is one of
    ``token_hosts``.

    Parameters
    ----------
    settings
        Settings to use; by default those of this place.
    environ
        Environment variables; by default those of this process. ``BEARER_TOKEN_FILE``
        is changed in it while the block lasts.

    Yields
    ------
    str
        The path of a file that only the user can read, and that is removed afterwards.

    Raises
    ------
    CredentialsError
        If ``servicex_token_file`` cannot be read, or the bearer token has expired.

    Notes
    -----
    The client (servicex 3.3.1, ``servicex_adapter.py``) sends the content of
    ``BEARER_TOKEN_FILE`` to the endpoint if that variable is set, whichever host that
    is, and otherwise exchanges its own refresh token for one. So while the block lasts
    the variable names our copy of the token where the endpoint may have it, and is
    not set where it may not.
    """
    import yaml

    settings = settings or load_settings()
    environ = os.environ if environ is None else environ
    endpoint: dict[str, Any] = {
        "name": NAME,
        "endpoint": settings.servicex_endpoint.rstrip("/"),
        "token": _refresh_token(settings),
    }
    bearer = None if endpoint["token"] else token_for(endpoint["endpoint"], settings)
    before = environ.get("BEARER_TOKEN_FILE")
    with tempfile.TemporaryDirectory(prefix="casa-env-servicex-") as name:
        folder = Path(name)
        config = folder / "servicex.yaml"
        content = {
            "api_endpoints": [endpoint],
            "default_endpoint": NAME,
            "cache_path": str(_cache_folder(environ)),
        }
        _write(config, yaml.safe_dump(content))
        environ.pop("BEARER_TOKEN_FILE", None)
        if bearer is not None:
            _write(folder / "token", bearer.value)
            environ["BEARER_TOKEN_FILE"] = str(folder / "token")
        try:
            yield str(config)
        finally:
            environ.pop("BEARER_TOKEN_FILE", None)
            if before is not None:
                environ["BEARER_TOKEN_FILE"] = before


def servicex_answer(settings: Settings) -> tuple[str, str]:
    """Ask ServiceX which version it is, as the user, in a bounded time.

    Parameters
    ----------
    settings
        With the endpoint.

    Returns
    -------
    tuple of str
        Its version, and what went wrong; empty if nothing did.

    Raises
    ------
    CredentialsError
        As `servicex_config`.
    """
    endpoint = settings.servicex_endpoint.rstrip("/")
    try:
        token = _access_token(endpoint, settings)
        answer = _request(f"{endpoint}/servicex", token, settings.timeout_s)
        return str(answer.get("app-version", "of an unknown version")), ""
    except urllib.error.HTTPError as err:
        err.close()
        return "", f"answered {err.code} {err.reason}"
    except (OSError, ValueError, KeyError) as err:
        return "", f"does not answer as ServiceX does ({type(err).__name__})"


def _access_token(endpoint: str, settings: Settings) -> str:
    """Return what to send with a request, empty for nothing."""
    refresh = _refresh_token(settings)
    if refresh:
        url = f"{endpoint}/token/refresh"
        answer = _request(url, refresh, settings.timeout_s, method="POST")
        return str(answer["access_token"])
    bearer = token_for(endpoint, settings)
    return bearer.value if bearer else ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect is an answer: what we send is for this host only."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def _request(url: str, token: str, timeout: float, method: str = "GET") -> Any:  # noqa: ANN401 - JSON
    """Return the JSON that a server answers."""
    if not url.startswith(("http://", "https://")):
        msg = "no web address"
        raise ValueError(msg)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - checked above
    opener = urllib.request.build_opener(_NoRedirect)
    with opener.open(request, timeout=timeout) as answer:
        return json.load(answer)


def _refresh_token(settings: Settings) -> str:
    """Return the token of ServiceX's own web page, empty if none is named."""
    file = settings.servicex_token_file
    if file is None:
        return ""
    try:
        return file.read_text().strip()
    except (OSError, ValueError) as err:
        what = "The file of the ServiceX token cannot be read."
        where = f"{file}, from {settings.origin('servicex_token_file')}"
        step = "Get a token from the ServiceX web page, or correct servicex_token_file."
        raise CredentialsError(what, looked_at=where, next_step=step) from err


def _cache_folder(environ: os._Environ[str]) -> Path:
    """Return where the client keeps what was delivered."""
    home = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "casa-env" / "servicex"


def _write(file: Path, content: str) -> None:
    """Write a file that only we can read, from the beginning on."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(content)
