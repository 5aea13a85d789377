"""Certificates for Dask: the site's, or some made for a session; found by address."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from casa_env.errors import ClusterError, MissingPackageError
from casa_env.session_folders import Session, scheduler_file
from casa_env.settings import Settings, load_settings

__all__ = ["cluster_security", "load_security", "publish", "site_security"]

_FILES: Final = {"ca_file": "ca.pem", "cert": "cert.pem", "key": "key.pem"}


def site_security(settings: Settings) -> Any:  # noqa: ANN401 - untyped in distributed
    """Return the certificates of the settings; the rest is Dask's configuration.

    Parameters
    ----------
    settings
        Name the files: one certificate does for client, scheduler and workers.

    Raises
    ------
    ClusterError
        If a file is not there, or the authority or the certificate is missing.
    """
    from distributed import Security

    given: dict[str, str] = {}
    for setting, options in (
        ("dask_tls_ca_file", ("tls_ca_file",)),
        ("dask_tls_cert", _for_each_role("cert")),
        ("dask_tls_key", _for_each_role("key")),
    ):
        file = getattr(settings, setting)
        if file is not None:
            if not file.is_file():
                what = f"There is no such file for {setting}."
                where = f"{file}, from {settings.origin(setting)}"
                step = "Correct the setting, or ask for the file."
                raise ClusterError(what, looked_at=where, next_step=step)
            given |= dict.fromkeys(options, str(file))
    security: Any = Security(require_encryption=True, **given)  # type: ignore[no-untyped-call]
    missing = [
        setting
        for setting, value in (
            ("dask_tls_ca_file", security.tls_ca_file),
            ("dask_tls_cert", security.tls_client_cert),
        )
        if not value
    ]
    if missing:
        # Without these, distributed fails with a TypeError before it connects.
        what = f"A tls:// scheduler needs {' and '.join(missing)}."
        where = "the settings, and distributed.comm.tls of Dask's configuration"
        step = f"Set {' and '.join(missing)} in a configuration file."
        raise ClusterError(what, looked_at=where, next_step=step)
    return security


def cluster_security(settings: Settings, session: Session) -> Any:  # noqa: ANN401 - untyped
    """Return certificates for a cluster to be started: the site's, or new ones.

    Parameters
    ----------
    settings
        Name the site's certificates, where it has any.
    session
        Where new ones are kept, readable for the user alone. All of the session have
        the same: who has it may join, as client or as worker.

    Raises
    ------
    ClusterError
        If a file that the settings name is not there.
    MissingPackageError
        If `cryptography` is not installed.
    """
    from distributed import Security

    if settings.dask_tls_ca_file is not None:
        return site_security(settings)
    try:
        made: Any = Security.temporary()  # type: ignore[no-untyped-call]
    except ImportError as err:
        what = "Certificates for a session need the package cryptography."
        step = "python -m pip install cryptography"
        raise MissingPackageError(what, next_step=step) from err
    texts = {
        "ca_file": made.tls_ca_file,
        "cert": made.tls_client_cert,
        "key": made.tls_client_key,
    }
    for name, text in texts.items():
        file = session.tls / _FILES[name]
        file.touch(mode=0o600)
        file.write_text(text)
    return _from_folder(session.tls)


def publish(address: str, session: Session) -> None:
    """Let the user's other processes find a session's certificates by its address.

    Parameters
    ----------
    address
        The scheduler's.
    session
        Whose certificates they are.
    """
    file = scheduler_file(address)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_text(str(session.tls))


def load_security(about: dict[str, str]) -> Any:  # noqa: ANN401 - Security or None
    """Find the certificates for ``Client("tls://...")``, which Dask asks for.

    It is Dask's ``distributed.client.security-loader``, set where casa_env is
    installed. On a laptop and at a facility it finds those that a session of the
    same user has made, else those that the settings name.

    Parameters
    ----------
    about
        What Dask tells: the scheduler's ``address``.

    Returns
    -------
    distributed.Security or None
        ``None`` leaves it to Dask's configuration.
    """
    address = about["address"]
    if not address.startswith(("tls://", "wss://")):
        return None
    file = scheduler_file(address)
    if file.is_file() and (folder := Path(file.read_text())).is_dir():
        return _from_folder(folder)
    settings = load_settings()
    if settings.dask_tls_ca_file is not None:
        return site_security(settings)
    return None


def _from_folder(folder: Path) -> Any:  # noqa: ANN401 - untyped in distributed
    """Return the certificates of a session."""
    from distributed import Security

    files = {name: str(folder / file) for name, file in _FILES.items()}
    roles = {
        option: files[kind]
        for kind in ("cert", "key")
        for option in _for_each_role(kind)
    }
    return Security(  # type: ignore[no-untyped-call]
        require_encryption=True, tls_ca_file=files["ca_file"], **roles
    )


def _for_each_role(kind: str) -> tuple[str, ...]:
    """Return the options of `distributed.Security` for a certificate, or a key."""
    return tuple(f"tls_{role}_{kind}" for role in ("client", "scheduler", "worker"))
