"""The grid's X.509: the user's proxy and how long it lasts, and the authorities."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from casa_env.bearer_tokens import utc
from casa_env.errors import CredentialsError
from casa_env.settings import Settings, load_settings

__all__ = ["X509Proxy", "authorities", "x509_proxy"]

#: Where grid tools put the proxy by default, after which comes the user's id.
DEFAULT: Final = "/tmp/x509up_u"  # noqa: S108 - the grid tools' own choice


@dataclass(frozen=True, kw_only=True)
class X509Proxy:
    """A proxy certificate; the key in its file is not read."""

    file: Path
    """Where it is."""

    subject: str
    """Whom it stands for."""

    expires_at: float
    """When the first certificate of its chain ends, in seconds since the epoch."""

    open_to_others: bool
    """Whether others may read the file: grid tools refuse it then."""

    def described(self, now: float) -> str:
        """Return what it is, for people.

        Parameters
        ----------
        now
            The time, in seconds since the epoch.
        """
        left = self.expires_at - now
        if left > 0:
            life = f"ends {utc(self.expires_at)}, in {left / 60:.0f} min"
        else:
            life = f"ENDED {utc(self.expires_at)}"
        return f"{life}; subject {self.subject}"


def x509_proxy(settings: Settings | None = None) -> X509Proxy | None:
    """Find the user's X.509 proxy.

    On a laptop and on Binder there usually is none. At a facility it is the file that
    ``x509_proxy`` (``X509_USER_PROXY``) names, or where grid tools put it.

    Parameters
    ----------
    settings
        Settings to use; by default those of this place.

    Returns
    -------
    X509Proxy or None
        ``None`` if no file is named and there is none at the usual place.

    Raises
    ------
    CredentialsError
        If a file that was named is missing, or holds no certificate.
    """
    from cryptography import x509

    settings = settings or load_settings()
    named = settings.x509_proxy
    file = named or Path(f"{DEFAULT}{os.geteuid()}")
    where = f"{file}, from {settings.origin('x509_proxy')}" if named else str(file)
    try:
        content = file.read_bytes()
        mode = file.stat().st_mode
        chain = x509.load_pem_x509_certificates(content)
    except (OSError, ValueError) as err:
        if isinstance(err, FileNotFoundError) and named is None:
            return None
        if isinstance(err, OSError):
            problem = f"cannot be read: {(err.strerror or str(err)).lower()}"
        else:
            problem = "holds no certificate"
        what = f"The X.509 proxy {problem}."
        step = "Make a new one (voms-proxy-init), or correct X509_USER_PROXY."
        raise CredentialsError(what, looked_at=where, next_step=step) from err
    return X509Proxy(
        file=file,
        subject=chain[0].subject.rfc4514_string(),
        expires_at=min(cert.not_valid_after_utc.timestamp() for cert in chain),
        open_to_others=bool(mode & (stat.S_IRWXG | stat.S_IRWXO)),
    )


def authorities(folder: Path) -> int:
    """Return how many certificate authorities a directory has, as OpenSSL counts.

    Parameters
    ----------
    folder
        A directory with hashed names, such as ``/etc/grid-security/certificates``.

    Raises
    ------
    CredentialsError
        If it is no directory, or has none: names must be hashed (``openssl rehash``).
    """
    step = "Correct x509_ca_dir (X509_CERT_DIR), or install the authorities there."
    if not folder.is_dir():
        what = "The directory of certificate authorities is not there."
        raise CredentialsError(what, looked_at=str(folder), next_step=step)
    found = len([path for path in folder.iterdir() if _hashed(path.name)])
    if not found:
        what = "The directory of certificate authorities has none with a hashed name."
        step = f"Run `openssl rehash {folder}`, or correct x509_ca_dir (X509_CERT_DIR)."
        raise CredentialsError(what, looked_at=str(folder), next_step=step)
    return found


def _hashed(name: str) -> bool:
    """Tell whether a file's name is one that OpenSSL looks for."""
    digest, _, number = name.partition(".")
    return len(digest) == 8 and number.isdigit()  # noqa: PLR2004 - 32 bits, in hex
