"""The bearer token that a hub keeps for its user, as a file that stays good."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from casa_env.errors import HubTokenError

if TYPE_CHECKING:
    from casa_env.settings import Settings

__all__ = ["hub_token", "keep_token", "write_token"]

logger = logging.getLogger(__name__)


def hub_token(environ: Mapping[str, str], *, timeout: float) -> str:
    """Ask the hub for the access token of the login of the user whose server this is.

    Parameters
    ----------
    environ
        The variables that JupyterHub gives to a server.
    timeout
        How long to wait, in seconds.

    Returns
    -------
    str
        The token.

    Raises
    ------
    HubTokenError
        This is no hub's server, the hub does not answer or does not let it, or the
        login gave no token.

    Notes
    -----
    The hub exchanges a token that has become old before it answers; the server's role
    needs the scope ``admin:auth_state!user`` (JupyterHub, "Authentication state").
    """
    api, user = environ.get("JUPYTERHUB_API_URL"), environ.get("JUPYTERHUB_USER")
    token = environ.get("JUPYTERHUB_API_TOKEN")
    if not (api and user and token and api.startswith(("http://", "https://"))):
        what = "There is no hub to ask for a token."
        step = "Set hub_token_s only in servers that JupyterHub starts."
        raise HubTokenError(what, looked_at="JUPYTERHUB_API_URL", next_step=step)
    where = f"{api}/users/{user}"
    request = urllib.request.Request(  # noqa: S310 - its scheme is checked above
        where, headers={"Authorization": f"token {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
            login = json.load(answer).get("auth_state") or {}
            found = login.get("access_token")
    except (OSError, ValueError, AttributeError) as err:
        code = ""
        if isinstance(err, urllib.error.HTTPError):
            err.close()  # it is the answer, too, with its connection
            code = f" {err.code}"
        what = f"The hub gave no token: {type(err).__name__}{code}."
        step = "Ask whether the hub is up, and lets servers read their user's login."
        raise HubTokenError(what, looked_at=where, next_step=step) from err
    if not found or not isinstance(found, str):
        what = "The hub keeps no token of this login."
        step = "Load token_renewal.py in the hub; then log out and in again."
        raise HubTokenError(what, looked_at=where, next_step=step)
    return found


def write_token(token: str, path: Path) -> bool:
    """Write a token to a file that only its user can read, whole or not at all.

    Parameters
    ----------
    token
        The token.
    path
        The file; its folder is made where it is missing.

    Returns
    -------
    bool
        Whether it changed.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    with contextlib.suppress(OSError, ValueError):
        if path.read_text().strip() == token:
            return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w") as file:  # mkstemp's mode is 0600
            file.write(token)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
    return True


async def keep_token(settings: Settings, environ: Mapping[str, str]) -> None:
    """Keep `bearer_token_file` equal to the hub's token until cancelled.

    Nothing happens on a laptop and on Binder, where `hub_token_s` is 0. At a facility
    the hub sets it, and JupyterLab runs this.

    Parameters
    ----------
    settings
        Settings of this place.
    environ
        The variables that JupyterHub gives to a server.
    """
    path, every = settings.bearer_token_file, settings.hub_token_s
    if path is None or not every:
        return
    while True:
        try:
            token = await asyncio.to_thread(
                hub_token, environ, timeout=settings.timeout_s
            )
            if write_token(token, path):
                logger.info("%s has a new token", path)
        except (HubTokenError, OSError) as err:
            logger.warning("%s keeps the token it has: %s", path, err)
        await asyncio.sleep(every)
