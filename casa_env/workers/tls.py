"""Certificates for Dask, the site's or a session's own, and the folders of sessions.

A session's folder has the logs and the keys of one cluster; only its user can read it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from casa_env.errors import ClusterError, require_package
from casa_env.settings import Settings, load_settings
from casa_env.settings.places import content_of, is_own, state_home

_FILES: Final = {"ca_file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


@dataclass(frozen=True, kw_only=True)
class Session:
    """What belongs to one cluster: its folder, and the numbers of its jobs."""

    path: Path
    backend: str = ""
    jobs: list[str] = field(default_factory=list)

    @property
    def logs(self) -> Path:
        """Where the workers' jobs write what they print."""
        return self.path / "logs"

    def publish(self, address: str) -> None:
        """Let the user's other processes find the certificates by an address."""
        file = _scheduler_file(address)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.write_text(str(self.path / "tls"))

    def follow(self, cluster: Any, begin: Callable[[], None] = lambda: None) -> Any:  # noqa: ANN401
        """Publish as a cluster has started, clear as it closes; return the cluster.

        ``begin`` is called when its scheduler has an address, and no worker is asked.
        """
        # These two are what all ways go through.
        start, close = cluster._start, cluster._close  # noqa: SLF001

        def publish() -> None:
            self.publish(cluster.scheduler_address)
            begin()

        async def start_and_publish() -> None:
            await start()
            publish()

        async def publish_and_submit() -> None:
            publish()
            await cluster

        async def close_and_clear() -> None:
            try:
                await close()
            finally:
                self.clear()

        cluster._close = close_and_clear  # noqa: SLF001
        if cluster.asynchronous:
            cluster._start = start_and_publish  # noqa: SLF001
        else:
            cluster.sync(publish_and_submit)
        return cluster

    def clear(self) -> None:
        """Remove the keys, and what leads to them; logs stay, where there are any."""
        shutil.rmtree(self.path / "tls", ignore_errors=True)
        with contextlib.suppress(OSError):
            self.logs.rmdir()
            shutil.rmtree(self.path)
        for file in sessions_folder().glob("schedulers/*"):
            with contextlib.suppress(OSError):  # another process may clear it, too
                if not Path(file.read_text()).is_dir():
                    file.unlink()


def sessions_folder() -> Path:
    """Return the folder of this user's sessions, where the settings name none."""
    return state_home(os.environ) / "casa-env" / "dask"


def new_session(settings: Settings) -> Session:
    """Make the folder of a new session; clear those whose process died on this host."""
    root = settings.dask_shared_folder or sessions_folder()
    path = root / f"casa-{secrets.token_hex(4)}"
    host = socket.gethostname()
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Others may have laid a link there that leads to a folder of ours.
        for record in root.glob("casa-*/process"):
            with contextlib.suppress(FileNotFoundError):  # it has just been cleared
                if not is_own(record.parent):
                    continue
                there, _, number = record.read_text().partition(" ")
                if there == host and not Path("/proc", number).exists():
                    Session(path=record.parent).clear()
        for folder in (path, path / "logs", path / "tls"):
            folder.mkdir(mode=0o700)
        (path / "process").write_text(f"{host} {os.getpid()}")
    except OSError as err:
        what = f"No folder can be made for a cluster's keys and logs: {err.strerror}."
        where = f"{root}, from {settings.origin('dask_shared_folder')}"
        step = "Set dask_shared_folder to a folder that workers see too."
        raise ClusterError(what, looked_at=where, next_step=step) from err
    return Session(path=path, backend=settings.dask_backend)


def site_security(settings: Settings) -> Any:  # noqa: ANN401 - untyped in distributed
    """Return the certificates of the settings; the rest is Dask's configuration."""
    from distributed import Security

    given = {kind: getattr(settings, f"dask_tls_{kind}") for kind in _FILES}
    for kind, file in given.items():
        if file is not None and not file.is_file():
            what = f"There is no such file for dask_tls_{kind}."
            where = f"{file}, from {settings.origin(f'dask_tls_{kind}')}"
            step = "Correct the setting, or ask for the file."
            raise ClusterError(what, looked_at=where, next_step=step)
    security: Any = Security(require_encryption=True, **_for_each_role(given))  # type: ignore[no-untyped-call]
    needed = {"ca_file": security.tls_ca_file, "cert": security.tls_client_cert}
    if missing := " and ".join(
        f"dask_tls_{kind}" for kind in needed if not needed[kind]
    ):
        # Without these, distributed fails with a TypeError before it connects.
        what = f"A tls:// scheduler needs {missing}."
        where = "the settings, and distributed.comm.tls of Dask's configuration"
        step = f"Set {missing} in a configuration file."
        raise ClusterError(what, looked_at=where, next_step=step)
    return security


def cluster_security(settings: Settings, session: Session) -> Any:  # noqa: ANN401 - untyped
    """Return certificates for a cluster to be started: the site's, or new ones."""
    if settings.dask_tls_ca_file is not None:
        return site_security(settings)
    return session_security(session)


def session_security(session: Session) -> Any:  # noqa: ANN401 - untyped
    """Make a session's certificate: who has it may join, as client or as worker."""
    from distributed import Security

    require_package("cryptography", why="A session with certificates of its own")
    made: Any = Security.temporary()  # type: ignore[no-untyped-call]
    made = made.tls_ca_file, made.tls_client_cert, made.tls_client_key
    for name, text in zip(_FILES.values(), made, strict=True):
        file = session.path / "tls" / name
        file.touch(mode=0o600)
        file.write_text(text)
    return _from_folder(session.path / "tls")


def load_security(about: dict[str, str]) -> Any:  # noqa: ANN401 - Security or None
    """Find the certificates for ``Client("tls://...")``: Dask's security-loader.

    They are those that a session of the same user has made for this ``address``, else
    those of the settings; ``None`` leaves it to Dask.
    """
    if not about["address"].startswith(("tls://", "wss://")):
        return None
    file = _scheduler_file(about["address"])
    if file.is_file():
        folder = Path(content_of(file, named=False).decode())
        if folder.is_dir() and is_own(folder):
            return _from_folder(folder)
    settings = load_settings()
    return site_security(settings) if settings.dask_tls_ca_file else None


def _scheduler_file(address: str) -> Path:
    name = "".join(sign if sign.isalnum() else "-" for sign in address)
    return sessions_folder() / "schedulers" / name


def _from_folder(folder: Path) -> Any:  # noqa: ANN401 - untyped in distributed
    from distributed import Security

    files = {kind: folder / name for kind, name in _FILES.items()}
    return Security(require_encryption=True, **_for_each_role(files))  # type: ignore[no-untyped-call]


def _for_each_role(files: Mapping[str, Path | None]) -> dict[str, str]:
    """Return options of `distributed.Security`: one certificate does for all roles."""
    roles = "client_", "scheduler_", "worker_"
    return {
        f"tls_{role}{kind}": str(file)
        for kind, file in files.items()
        for role in (("",) if kind == "ca_file" else roles)
        if file is not None
    }
