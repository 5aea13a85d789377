"""Certificates for a facility's shared Dask scheduler, and for users outside of it.

``python certificates.py authority FOLDER`` makes an authority, and the certificate of
scheduler and workers. ``python certificates.py user NAME FOLDER`` makes one for a user,
with the settings to put beside it. Whoever has a certificate of this authority runs
code on the workers, as a Dask client does; Dask looks at no list of revoked ones, so
that those of users end soon, and `ca.key` stays with the administrator.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: How long certificates are good, in days: the authority's and the scheduler's, a
#: user's, and the longest that a user's may be.
FACILITY_DAYS, USER_DAYS, MOST_DAYS = 365, 7, 90

#: What a user may be called: it is a part of a file's name and of a subject.
USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")

SETTINGS = """\
# Settings of casa_env; put them into ~/.config/casa-env/config.toml.
dask_backend = "join"
dask_address = "tls://{address}"
dask_tls_ca_file = "{folder}/ca.crt"
dask_tls_cert = "{folder}/tls.crt"
dask_tls_key = "{folder}/tls.key"
"""


class CertificateError(Exception):
    """What is wrong, where, and what to do next."""


def made(
    subject: str, days: int, signed_by: Path | None, *usage: x509.ObjectIdentifier
) -> tuple[bytes, bytes]:
    """Return a new certificate and its key in PEM; an authority's own without one.

    Raises
    ------
    CertificateError
        There is no authority in that folder, or it ends before the certificate would.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    issuer, signing_key = name, key
    now = dt.datetime.now(dt.UTC)
    ends = now + dt.timedelta(days=days)
    if signed_by is not None:
        issuer, signing_key, last = authority(signed_by)
        if last < now:
            msg = f"{signed_by}/ca.crt has ended: make a new authority, and the secret"
            raise CertificateError(msg)
        ends = min(ends, last)  # one that outlives its authority is refused anyway
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))  # clocks differ
        .not_valid_after(ends)
        .add_extension(
            x509.BasicConstraints(ca=signed_by is None, path_length=None), critical=True
        )
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    certificate = builder.sign(signing_key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def authority(
    folder: Path,
) -> tuple[x509.Name, ec.EllipticCurvePrivateKey, dt.datetime]:
    """Read an authority's name, its key, and until when it is good."""
    try:
        certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
        content = (folder / "ca.key").read_bytes()
        key = serialization.load_pem_private_key(content, password=None)
    except (OSError, ValueError) as err:
        msg = f"{folder}: no authority can be read there ({err}): make one first"
        raise CertificateError(msg) from err
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        msg = f"{folder}/ca.key is of another kind than this program makes"
        raise CertificateError(msg)
    return certificate.subject, key, certificate.not_valid_after_utc


def write(folder: Path, files: dict[str, bytes]) -> None:
    """Write new files into a folder, readable by their owner alone; replace none."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            msg = f"{folder} has files already: choose an empty folder"
            raise CertificateError(msg)
        for name, content in files.items():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(folder / name, flags, 0o600), "wb") as file:
                file.write(content)
    except OSError as err:
        msg = f"{folder} cannot be written: {err.strerror}"
        raise CertificateError(msg) from err


def make_authority(folder: Path) -> None:
    """Make an authority, and in ``secret/`` what scheduler and workers have."""
    certificate, key = made("Casa's Dask", FACILITY_DAYS, None)
    write(folder, {"ca.crt": certificate, "ca.key": key})
    both = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
    own, own_key = made("scheduler", FACILITY_DAYS, folder, *both)
    secret = {"ca.crt": certificate, "tls.crt": own, "tls.key": own_key}
    write(folder / "secret", secret)


def make_user(user: str, folder: Path, *, by: Path, days: int, address: str) -> None:
    """Make a user's certificate in a folder of its own, with the settings to use it."""
    if not USER.fullmatch(user):
        msg = f"{user!r} is no name of a user: letters, digits and . _ - are"
        raise CertificateError(msg)
    if not 1 <= days <= MOST_DAYS:
        msg = f"{days} days: a user's certificate is good for 1 to {MOST_DAYS}"
        raise CertificateError(msg)
    certificate, key = made(user, days, by, ExtendedKeyUsageOID.CLIENT_AUTH)
    settings = SETTINGS.format(address=address, folder=folder.absolute())
    write(
        folder,
        {
            "ca.crt": (by / "ca.crt").read_bytes(),
            "tls.crt": certificate,
            "tls.key": key,
            "config.toml": settings.encode(),
        },
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return its exit status."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=about)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("authority", help="once, and again each year")
    one.add_argument("folder", type=Path)
    one = commands.add_parser("user", help="a certificate for a user outside")
    one.add_argument("user")
    one.add_argument("folder", type=Path, help="a new one, to give to the user")
    one.add_argument("--authority", type=Path, required=True, metavar="FOLDER")
    one.add_argument("--address", required=True, metavar="HOST:PORT")
    one.add_argument("--days", type=int, default=USER_DAYS)
    asked = parser.parse_args(arguments)
    try:
        if asked.command == "authority":
            make_authority(asked.folder)
        else:
            place, days = asked.folder, asked.days
            by, address = asked.authority, asked.address
            make_user(asked.user, place, by=by, days=days, address=address)
    except CertificateError as err:
        print(f"certificates.py: {err}", file=sys.stderr)
        return 1
    print(f"written to {asked.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
