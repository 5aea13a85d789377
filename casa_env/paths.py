"""Where caches, state and runtime files go, when the home directory cannot be written.

Standard library only: it runs on a bare Python before anything is installed.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from casa_env.errors import PathsError

__all__ = ["can_write", "writable_environment"]

#: By variable: where its place is below the home directory when it is not set, and
#: below a fallback folder. The configuration home is not here: what a read-only home
#: holds in it can still be read, and nothing that we start has to write there.
PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "XDG_CACHE_HOME": (".cache", "cache"),
    "XDG_DATA_HOME": (".local/share", "data"),
    "XDG_STATE_HOME": (".local/state", "state"),
    "IPYTHONDIR": (".ipython", "ipython"),
    "JUPYTER_CONFIG_DIR": (".jupyter", "jupyter/config"),
    "JUPYTER_DATA_DIR": (".local/share/jupyter", "jupyter/data"),
    "JUPYTER_RUNTIME_DIR": (".local/share/jupyter/runtime", "jupyter/runtime"),
    "JUPYTERLAB_SETTINGS_DIR": (".jupyter/lab/user-settings", "jupyter/settings"),
    "JUPYTERLAB_WORKSPACES_DIR": (".jupyter/lab/workspaces", "jupyter/workspaces"),
    "MPLCONFIGDIR": (".config/matplotlib", "matplotlib"),
    "NUMBA_CACHE_DIR": (".cache/numba", "numba"),
    "UV_CACHE_DIR": (".cache/uv", "uv"),
}

#: Where programs look when the variable itself is not set: another variable, which
#: has the place below the home directory as its default, and the rest of the path.
PARENTS: Final[Mapping[str, tuple[str, str]]] = {
    "JUPYTER_DATA_DIR": ("XDG_DATA_HOME", "jupyter"),
    "JUPYTER_RUNTIME_DIR": ("JUPYTER_DATA_DIR", "runtime"),
    "JUPYTERLAB_SETTINGS_DIR": ("JUPYTER_CONFIG_DIR", "lab/user-settings"),
    "JUPYTERLAB_WORKSPACES_DIR": ("JUPYTER_CONFIG_DIR", "lab/workspaces"),
    "MPLCONFIGDIR": ("XDG_CONFIG_HOME", "matplotlib"),
    "NUMBA_CACHE_DIR": ("XDG_CACHE_HOME", "numba"),
    "UV_CACHE_DIR": ("XDG_CACHE_HOME", "uv"),
}


def writable_environment(
    environ: Mapping[str, str],
    *,
    home: Path | None = None,
    fallback: Path | None = None,
) -> tuple[dict[str, str], str]:
    """Return the variables to add so that every program finds a place to write.

    Nothing changes on a laptop, on Binder and at a facility with an ordinary home
    directory. Where the home directory cannot be written, caches and state go to the
    fallback folder, or to a private folder below ``$TMPDIR`` without one.

    Parameters
    ----------
    environ
        Environment variables; left as they are.
    home
        The home directory; by default ``HOME``, else that of the user.
    fallback
        A folder to prefer over the temporary one, such as a clone's ``.cache``.
        It is made where it is missing.

    Returns
    -------
    tuple
        The variables to add, none where all places can be written; and the reason in
        one line, empty where there is none.

    Raises
    ------
    PathsError
        If neither the home, the fallback nor the temporary folder can be written.

    Notes
    -----
    The places are those of the XDG Base Directory Specification 0.8 and of each
    program's manual. A place is judged by writing a file, not by its permission
    bits: these do not stop root, and a file system may be mounted read-only.
    """
    home = home or Path(environ.get("HOME") or Path.home())
    verdicts: dict[Path, bool] = {}
    closed = []
    for variable in PLACES:
        folder = _nearest_existing(_place(variable, environ, home))
        if folder not in verdicts:
            verdicts[folder] = can_write(folder)
        if not verdicts[folder]:
            closed.append(variable)
    if not closed:
        return {}, ""
    target = _fallback_folder(environ, fallback)
    extra = {variable: str(target / PLACES[variable][1]) for variable in closed}
    first = _place(closed[0], environ, home)
    what = home if not can_write(_nearest_existing(home)) else first
    return extra, f"{what} cannot be written: caches and state go to {target}"


def can_write(folder: Path) -> bool:
    """Tell whether a file can be made in a folder, by making one.

    Parameters
    ----------
    folder
        A folder that is there. Anything else cannot be written.
    """
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _place(variable: str, environ: Mapping[str, str], home: Path) -> Path:
    """Return where a program would write, given its variable and those above it."""
    if environ.get(variable):
        return Path(environ[variable])
    if variable in PARENTS:
        parent, rest = PARENTS[variable]
        if parent in PLACES:
            return _place(parent, environ, home) / rest
        if environ.get(parent):
            return Path(environ[parent]) / rest
    return home / PLACES[variable][0]


def _nearest_existing(path: Path) -> Path:
    """Return the path, or what there is of it."""
    path = path.absolute()
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _fallback_folder(environ: Mapping[str, str], fallback: Path | None) -> Path:
    """Return a folder of ours that can be written."""
    temporary = Path(environ.get("TMPDIR") or "/tmp")  # noqa: S108 - checked below
    candidates = [temporary / f"casa-env-{os.getuid()}"]
    if fallback is not None:
        candidates.insert(0, fallback)
    for folder in candidates:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = folder.lstat()
        except OSError:
            continue
        # Anybody can make a folder of this name below /tmp, before us, to read ours.
        private = (
            stat.S_ISDIR(status.st_mode)
            and status.st_uid == os.getuid()
            and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH | stat.S_IROTH)
        )
        if (folder == fallback or private) and can_write(folder):
            return folder.absolute()
    what = "No place was found where caches and state can be written."
    raise PathsError(
        what,
        looked_at=", ".join(["the home directory", *map(str, candidates)]),
        next_step="Set TMPDIR to a folder that you may write to.",
    )
