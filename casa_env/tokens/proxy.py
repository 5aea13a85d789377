"""The grid's X.509: the user's proxy and how long it lasts, and the authorities."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from casa_env.errors import CredentialsError
from casa_env.settings import Settings
from casa_env.settings.places import content_of
from casa_env.tokens.bearer import utc


@dataclass(frozen=True, kw_only=True)
class X509Proxy:
    """A proxy certificate; the key in its file is not read."""

    file: Path
    subject: str
    expires_at: float
    open_to_others: bool

    def described(self, now: float) -> str:
        """Return what it is, for people."""
        left = self.expires_at - now
        life = f"ENDED {utc(self.expires_at)}"
        if left > 0:
            life = f"ends {utc(self.expires_at)}, in {left / 60:.0f} min"
        return f"{life}; subject {self.subject}"


def x509_proxy(settings: Settings) -> X509Proxy | None:
    """Find the user's proxy: where a setting names it, or where grid tools put it."""
    from cryptography import x509

    named = settings.x509_proxy
    file = named or Path(f"/tmp/x509up_u{os.geteuid()}")  # noqa: S108 - the grid tools' own choice
    try:
        content = content_of(file, named=named is not None)
        chain = x509.load_pem_x509_certificates(content)
        mode = file.stat().st_mode
    except (OSError, ValueError) as err:
        if isinstance(err, FileNotFoundError) and named is None:
            return None
        problem = "holds no certificate"
        if isinstance(err, OSError):
            problem = f"cannot be read: {(err.strerror or str(err)).lower()}"
        where = f"{file}, from {settings.origin('x509_proxy')}" if named else str(file)
        step = "Make a new one (voms-proxy-init), or correct X509_USER_PROXY."
        what = f"The X.509 proxy {problem}."
        raise CredentialsError(what, looked_at=where, next_step=step) from err
    return X509Proxy(
        file=file,
        subject=chain[0].subject.rfc4514_string(),
        expires_at=min(link.not_valid_after_utc.timestamp() for link in chain),
        open_to_others=bool(mode & (stat.S_IRWXG | stat.S_IRWXO)),
    )


def authorities(folder: Path) -> int:
    """Return how many certificate authorities a folder has, as OpenSSL counts them."""
    if not folder.is_dir():
        what = "The directory of certificate authorities is not there."
        step = "Correct x509_ca_dir (X509_CERT_DIR), or install the authorities there."
        raise CredentialsError(what, looked_at=str(folder), next_step=step)
    hashed = re.compile(r"[^.]{8}\.\d+")
    found = sum(bool(hashed.fullmatch(path.name)) for path in folder.iterdir())
    if not found:
        what = "The directory of certificate authorities has none with a hashed name."
        step = f"Run `openssl rehash {folder}`, or correct x509_ca_dir (X509_CERT_DIR)."
        raise CredentialsError(what, looked_at=str(folder), next_step=step)
    return found
