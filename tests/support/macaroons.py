"""Macaroons, as XRootD's servers make them: asked for, read, narrowed by anybody."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.certificates import Certificate
from support.programs import required


def request(
    url: str,
    *,
    certificate: Certificate,
    authority: Path,
    activities: str = "DOWNLOAD,LIST",
    validity: str = "PT10M",
) -> str:
    """Ask a server for a macaroon on a folder, as the facility's guide says."""
    wanted = {"caveats": [f"activity:{activities}"], "validity": validity}
    done = subprocess.run(
        [
            *(required("curl", package="curl"), "--silent", "--show-error", "--fail"),
            *("--cacert", authority, "--cert", certificate.cert),
            *("--key", certificate.key, "--data", json.dumps(wanted)),
            *("--header", "Content-Type: application/macaroon-request", url),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return str(json.loads(done.stdout)["macaroon"])


def packets(macaroon: str) -> list[tuple[bytes, bytes]]:
    """Return a macaroon's parts, by the first version of the format."""
    content = base64.urlsafe_b64decode(macaroon + "=" * (-len(macaroon) % 4))
    found = []
    while content:
        length = int(content[:4], 16)
        key, _, value = content[4:length].partition(b" ")
        found.append((key, value.removesuffix(b"\n")))
        content = content[length:]
    return found


def packed(parts: Sequence[tuple[bytes, bytes]]) -> str:
    """Return a macaroon of these parts."""
    lines = (key + b" " + value + b"\n" for key, value in parts)
    content = b"".join(f"{len(line) + 4:04x}".encode() + line for line in lines)
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def narrowed(macaroon: str, *caveats: str) -> str:
    """Add caveats, which needs no key: each signs itself with the signature before."""
    *parts, (_, signature) = packets(macaroon)
    for caveat in caveats:
        signature = hmac.digest(signature, caveat.encode(), hashlib.sha256)
        parts.append((b"cid", caveat.encode()))
    return packed([*parts, (b"signature", signature)])


def tampered(macaroon: str, old: str, new: str) -> str:
    """Change a caveat and leave the signature as it was."""
    changed = [(k, v.replace(old.encode(), new.encode())) for k, v in packets(macaroon)]
    assert changed != packets(macaroon)
    return packed(changed)
