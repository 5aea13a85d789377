"""Bearer tokens for tests: JWTs of the WLCG profile, signed with a key of their own."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ANY = "https://wlcg.cern.ch/jwt/v1/any"


class Issuer:
    """Signs tokens (ES256) and publishes its key as a JSON Web Key Set."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._key = ec.generate_private_key(ec.SECP256R1())

    def keys(self) -> dict[str, Any]:
        """Return the key set (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        key = {
            "kty": "EC",
            "crv": "P-256",
            "use": "sig",
            "alg": "ES256",
            "kid": "k1",
            "x": base64url(numbers.x.to_bytes(32, "big")),
            "y": base64url(numbers.y.to_bytes(32, "big")),
        }
        return {"keys": [key]}

    def token(
        self,
        *,
        lifetime_s: float = 3600,
        audience: str = ANY,
        scope: str = "storage.read:/",
        **claims: Any,
    ) -> str:
        """Return a token that begins to be valid a little before now."""
        now = int(time.time())
        content = {
            "wlcg.ver": "1.0",
            "iss": self.url,
            "sub": "alice",
            "aud": audience,
            "scope": scope,
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + int(lifetime_s),
            "jti": uuid.uuid4().hex,
            **claims,
        }
        header = {"alg": "ES256", "kid": "k1", "typ": "JWT"}
        signed = f"{_part(header)}.{_part(content)}"
        encoded = self._key.sign(signed.encode(), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(encoded)
        signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return f"{signed}.{base64url(signature)}"


def base64url(content: bytes) -> str:
    """Encode as JWTs do: without padding."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _part(content: dict[str, Any]) -> str:
    return base64url(json.dumps(content).encode())
