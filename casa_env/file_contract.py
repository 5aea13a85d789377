"""The contract's checks of what a facility mounts: certificates and the token."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
import ssl
import stat
from pathlib import Path
from typing import Final

from casa_env.checks import Check, Status, off
from casa_env.settings import Settings

__all__ = ["certificates", "token"]

#: A certificate that ends sooner than this is as good as gone, in seconds.
SOON_S: Final = 3600.0

_PEM: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL
)


def certificates(settings: Settings) -> Check:
    """Check what is trusted, and the files of Dask's TLS and of the grid.

    Parameters
    ----------
    settings
        Settings of this place: `dask_tls_ca_file`, `dask_tls_cert`, `dask_tls_key`
        and `x509_ca_dir` are looked at where they are set.
    """
    trusted = len(ssl.create_default_context().get_ca_certs())
    problems = [] if trusted else ["no certificate authority is trusted"]
    found = [f"{trusted} authorities are trusted"]
    names = ("dask_tls_ca_file", "dask_tls_cert", "dask_tls_key")
    given = {name: getattr(settings, name) for name in names}
    if any(given.values()):
        problems += [f"{name} is not set" for name, path in given.items() if not path]
        if all(given.values()):
            problems += _tls_problems(*given.values())
            found.append("Dask's certificate, key and authority fit")
    folder = settings.x509_ca_dir
    if folder is not None:
        hashed = list(folder.glob("*.[0-9]")) if folder.is_dir() else []
        found.append(f"{len(hashed)} authorities of the grid")
        if not hashed:
            problems.append(f"x509_ca_dir: {folder} holds no hashed authority (*.0)")
    if not problems:
        return Check(name="certificates", status=Status.OK, evidence="; ".join(found))
    return Check(
        name="certificates",
        status=Status.FAILED,
        evidence="; ".join(problems),
        next_step="Install ca-certificates in the image; mount the others, and renew "
        "them while sessions run.",
    )


def _tls_problems(authority: Path, cert: Path, key: Path) -> list[str]:
    """Return what is wrong with the files of Dask's TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    problems = []
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as err:
        problems.append(f"dask_tls_ca_file: {authority}: {_reason(err)}")
    try:
        context.load_cert_chain(cert, key)  # which also compares the two
    except (OSError, ssl.SSLError) as err:
        problems.append(f"dask_tls_cert and dask_tls_key: {cert}: {_reason(err)}")
    return problems or _chain_problems(authority, cert)


def _chain_problems(authority: Path, cert: Path) -> list[str]:
    """Return what is wrong between a certificate and its authority, and with its dates.

    Notes
    -----
    The authority may be several certificates in one file; one has to have signed.
    """
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    ours = x509.load_pem_x509_certificate(cert.read_bytes())
    signed = False
    for pem in _PEM.findall(authority.read_bytes()):
        try:
            ours.verify_directly_issued_by(x509.load_pem_x509_certificate(pem))
            signed = True
        except (InvalidSignature, TypeError, ValueError):
            continue
    left = ours.not_valid_after_utc - dt.datetime.now(dt.UTC)
    problems = [] if signed else [f"{cert} is not signed by {authority}"]
    if left.total_seconds() < SOON_S:
        problems.append(f"{cert} ends at {ours.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    return problems


def _reason(err: Exception) -> str:
    """Return the reason of an error of files or of TLS, in a few words."""
    words = getattr(err, "reason", "") or getattr(err, "strerror", "") or str(err)
    return str(words).lower().replace("_", " ")


def token(settings: Settings, *, now: float) -> Check:
    """Check that the bearer token is a file, that it holds one, and for how long.

    Parameters
    ----------
    settings
        Settings of this place.
    now
        The time, in seconds since 1970.

    Notes
    -----
    A token in a variable cannot be renewed while a session runs; WLCG Bearer Token
    Discovery v1.0 looks at ``BEARER_TOKEN`` first, so it would also hide the file.
    """
    path = settings.bearer_token_file
    if settings.bearer_token:
        origin = settings.origin("bearer_token")
        return _bad_token(f"{origin} hides the file, and is never renewed")
    if path is None:
        return off("token", "bearer_token_file")
    where = f"{path}, from {settings.origin('bearer_token_file')}"
    try:
        content = path.read_text().strip()
        exposed = path.stat().st_mode & stat.S_IRWXO
    except (OSError, ValueError) as err:
        return _bad_token(f"{where}: {_reason(err)}")
    ends = _expiry(content)
    if not content or exposed or (ends is not None and ends <= now):
        problem = "others can read it" if exposed else "it is empty"
        if ends is not None and ends <= now:
            problem = f"it ended {now - ends:.0f} s ago"
        return _bad_token(f"{where}: {problem}")
    how_long = f"good for {(ends - now) / 60:.0f} min" if ends else "without an end"
    return Check(name="token", status=Status.OK, evidence=f"{where}: {how_long}")


def _bad_token(evidence: str) -> Check:
    """Return the check of a token that will not do."""
    return Check(
        name="token",
        status=Status.FAILED,
        evidence=evidence,
        next_step="Let the hub write the token to bearer_token_file, readable for its "
        "user alone, and renew it there.",
    )


def _expiry(content: str) -> float | None:
    """Return when a JSON Web Token ends, in seconds since 1970, if it says so."""
    parts = content.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature
        return None
    try:
        claims = json.loads(
            base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4))
        )
        return float(claims["exp"])
    except (binascii.Error, ValueError, KeyError, TypeError):
        return None
