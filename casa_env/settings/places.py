"""Where we are, and where caches and state go when the home cannot be written.

Standard library only: it runs on a bare Python before anything is installed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from casa_env.errors import PathsError

#: What terminals, batch systems and containers send before they kill: a lost terminal,
#: a container's stop, batch systems' warnings of the time that is nearly up.
ENDINGS: Final = (
    *(signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
)

#: What a folder must take to count as one that can be written. In bytes.
ENOUGH_BYTES: Final = 65536

#: The kinds of site there are.
SITES: Final = ("local", "binder", "facility")

#: BinderHub sets these in every container that it starts (``binderhub/launcher.py``).
BINDER_VARIABLES: Final = (
    *("BINDER_LAUNCH_HOST", "BINDER_PERSISTENT_REQUEST", "BINDER_REF_URL"),
    *("BINDER_REPO_URL", "BINDER_REQUEST"),
)

#: JupyterHub sets these in every single-user server (``Spawner.get_env``). Its third,
#: JUPYTERHUB_SERVICE_PREFIX, does not count: an image sets it to "/" for Dask's links.
HUB_VARIABLES: Final = ("JUPYTERHUB_API_URL", "JUPYTERHUB_USER")

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


def detected_site(environ: Mapping[str, str]) -> str:
    """Return which of `SITES` the environment variables speak of.

    Binder is a JupyterHub too, so its own variables are looked at first. A variable
    that is set but empty counts as not set.

    Examples
    --------
    >>> detected_site({"JUPYTERHUB_USER": "x", "BINDER_REQUEST": "v2/gh/a/b/main"})
    'binder'
    """
    if any(environ.get(name) for name in BINDER_VARIABLES):
        return "binder"
    return "facility" if any(environ.get(name) for name in HUB_VARIABLES) else "local"


def site_defaults(site: str) -> dict[str, bool]:
    """Return the settings that a kind of site implies.

    On Binder no worker processes: each costs some 200 MB of the 1-2 GB there are.
    """
    return {"dask_processes": False} if site == "binder" else {}


def config_home(environ: Mapping[str, str], home: Path | None = None) -> Path:
    """Return where users keep configuration (XDG Base Directory Specification 0.8)."""
    home = home or _home(environ)
    return Path(environ.get("XDG_CONFIG_HOME") or home / ".config")


def cache_home(environ: Mapping[str, str]) -> Path:
    """Return where programs keep what they can make again; as `config_home`."""
    return _place("XDG_CACHE_HOME", environ, _home(environ))


def state_home(environ: Mapping[str, str]) -> Path:
    """Return where programs keep what they have done; as `config_home`."""
    return _place("XDG_STATE_HOME", environ, _home(environ))


def writable_environment(
    environ: Mapping[str, str],
    *,
    home: Path | None = None,
    fallback: Path | None = None,
) -> tuple[dict[str, str], str]:
    """Return the variables to add so that every program finds a place to write.

    With an ordinary home directory there are none. Where it cannot be written, caches
    and state go to the fallback folder, such as a clone's ``.cache``, or to a private
    folder below ``$TMPDIR``. The second result is the reason in one line, or empty.
    Raises `PathsError` if no place can be written.

    A place is judged by writing a file, not by its permission bits: these do not stop
    root, and a file system may be mounted read-only.
    """
    home = home or _home(environ)
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
    target, more = _fallback_folder(environ, fallback)
    extra = {variable: str(target / PLACES[variable][1]) for variable in closed}
    first = _place(closed[0], environ, home)
    what = home if not can_write(_nearest_existing(home)) else first
    return extra, f"{what} cannot be written: caches and state go to {target}{more}"


def can_write(folder: Path) -> bool:
    """Tell whether a folder takes a file with bytes in it: a full one takes none."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(ENOUGH_BYTES))
            return True
    except OSError:
        return False


def content_of(file: Path, *, named: bool, most: int = 1_000_000) -> bytes:
    """Return the first bytes of a regular file, and wait for none.

    Anybody can make a file, a link or a FIFO in ``/tmp`` under the name that we look
    for: it must be ours or root's there. One that somebody ``named`` may be anybody's
    in folders without the sticky bit. Others raise `PermissionError`.
    """
    # Kubernetes mounts secrets as links of root's, in a folder with the sticky bit.
    shared = not named or file.parent.stat().st_mode & stat.S_ISVTX
    trusted = (0, os.geteuid())
    refused = PermissionError(errno.EPERM, "it is not a regular file of your own")
    if shared and file.lstat().st_uid not in trusted:
        raise refused
    alone = os.O_NONBLOCK | os.O_NOCTTY
    with open(file, "rb", opener=lambda *to: os.open(to[0], to[1] | alone)) as it:
        status = os.fstat(it.fileno())
        ours = not shared or status.st_uid in trusted
        if stat.S_ISREG(status.st_mode) and ours:
            return it.read(most)
    raise refused


def own_folder(folder: Path) -> None:
    """Make a folder that only we may enter, and those above it, unless they are there.

    Raises `PermissionError` where somebody else made one in a place like ``/tmp``, to
    see or exchange what goes into it.
    """
    folder = folder.absolute()
    for one in (*reversed(folder.parents), folder):
        one.mkdir(mode=0o700, exist_ok=True)
        shared = one.parent.stat().st_mode & stat.S_ISVTX
        if shared and one.lstat().st_uid not in {0, os.geteuid()}:
            raise PermissionError(errno.EPERM, "somebody else made it", str(one))


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a path to write to, which takes the place of another once all is there.

    Readers see the file as it was or as it is, never a part of it; a writer that fails
    leaves it as it was. What others lay there is replaced, and no link is followed.
    Missing folders are made, as `own_folder` does.
    """
    own_folder(path.parent)
    with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as folder:
        partial = Path(folder, path.name)
        yield partial
        partial.replace(path)


def is_own(folder: Path) -> bool:
    """Tell whether a folder is ours, and no link to one."""
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def is_safe(folder: Path, *owners: int) -> bool:
    """Tell whether only ``owners``, by default we, can lay code there for us to run.

    Anybody can make a folder of a known name below ``/tmp``, before us; and move ours
    away if a folder above it is theirs, or is everybody's and has no sticky bit, as in
    a pod's empty volume. Root and its group are trusted: in a container, the owner of
    ``/`` is as good, and an image's files are written by users of any number.
    """
    folder = folder.absolute()
    trusted = {0, Path("/").stat().st_uid, *(owners or (os.geteuid(),))}
    itself, *above = [folder.lstat(), *(one.stat() for one in folder.parents)]
    return (
        stat.S_ISDIR(itself.st_mode)
        and not itself.st_mode & stat.S_IWOTH
        and not (itself.st_mode & stat.S_IWGRP and itself.st_gid)
        and {one.st_uid for one in (itself, *above)} <= trusted
        and all(
            not one.st_mode & stat.S_IWOTH or one.st_mode & stat.S_ISVTX
            for one in above
        )
    )


def catch_endings(handler: Callable[[int, Any], object]) -> list[signal.Signals]:
    """Let a handler take the signals of `ENDINGS`; return those that it took.

    One that is ignored (nohup) or that somebody else handles stays as it is.
    """
    free = [n for n in ENDINGS if signal.getsignal(n) is signal.SIG_DFL]
    for number in free:
        signal.signal(number, handler)
    return free


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or Path.home())


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
    path = path.absolute()
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _fallback_folder(
    environ: Mapping[str, str], fallback: Path | None
) -> tuple[Path, str]:
    """Return a folder of ours that can be written, and what has to be said of it."""
    temporary = Path(environ.get("TMPDIR") or "/tmp").absolute()  # noqa: S108 - checked
    private = temporary / f"casa-env-{os.geteuid()}"
    candidates = [private]
    if fallback is not None:
        candidates.insert(0, fallback.absolute())
    for folder in candidates:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if folder == private and (
                not is_own(folder) or folder.stat().st_mode & 0o077
            ):
                continue
            if can_write(folder):
                kept = folder != private or is_safe(folder)
                return folder, "" if kept else "; compiled code is not kept there"
    with contextlib.suppress(OSError):
        # Others can enter ours: this one is for this process and those that it starts.
        folder = Path(tempfile.mkdtemp(prefix="casa-env-", dir=temporary))
        if can_write(folder):
            return folder, f", not kept, as others can enter {private}"
    what = "No place was found where caches and state can be written."
    raise PathsError(
        what,
        looked_at=", ".join(["the home directory", *map(str, candidates)]),
        next_step="Set TMPDIR to a folder that you may write to.",
    )
