"""A session's folder: its logs, its certificates, its jobs; cleared when it ends."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from casa_env.errors import ClusterError
from casa_env.settings import Settings

__all__ = ["Session", "new_session", "scheduler_file", "sessions_folder"]


@dataclass(frozen=True, kw_only=True)
class Session:
    """Where what belongs to one cluster is kept; only its user can read it."""

    path: Path
    """The folder."""

    @property
    def name(self) -> str:
        """A name that no other session has."""
        return self.path.name

    @property
    def logs(self) -> Path:
        """Where the workers' jobs write what they print."""
        return self.path / "logs"

    @property
    def tls(self) -> Path:
        """Where the session's certificates and keys are."""
        return self.path / "tls"


def sessions_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of the sessions of this user, on a laptop and at a facility.

    Parameters
    ----------
    environ
        Environment variables; by default those of this process.

    Notes
    -----
    It is state in the sense of the XDG Base Directory Specification 0.8.
    """
    environ = os.environ if environ is None else environ
    home = Path(environ.get("HOME") or Path.home())
    state = Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state")
    return state / "casa-env" / "dask"


def new_session(settings: Settings) -> Session:
    """Make the folder of a new session.

    Parameters
    ----------
    settings
        Say in which folder, where the home is not one that workers see.

    Raises
    ------
    ClusterError
        If the folder cannot be made.
    """
    root = settings.dask_shared_folder or sessions_folder()
    session = Session(path=root / f"casa-{secrets.token_hex(4)}")
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (session.path, session.logs, session.tls):
            folder.mkdir(mode=0o700)
    except OSError as err:
        what = f"No folder can be made for the workers' logs: {err.strerror}."
        raise ClusterError(
            what,
            looked_at=f"{root}, from {settings.origin('dask_shared_folder')}",
            next_step="Set dask_shared_folder to a folder that workers see too.",
        ) from err
    return session


def scheduler_file(address: str) -> Path:
    """Return the file that says where the certificates of a scheduler are.

    Parameters
    ----------
    address
        The scheduler's address; ``tls://host:port``.
    """
    name = "".join(sign if sign.isalnum() else "-" for sign in address)
    return sessions_folder() / "schedulers" / name
