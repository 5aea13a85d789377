"""Messages that only one process can open, whoever passes them on or writes them down.

Dask's messages are private on the way, with TLS; but the scheduler passes them on, and
at the log level DEBUG every process writes each of them down (``distributed/core.py``).
So a secret is sealed for the process that it is for: with a key of its own, made when
it is first asked for and never leaving its memory.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

__all__ = ["public_key", "seal", "unseal"]

_PURPOSE: Final = b"casa-env delivery"
_KEY_BYTES: Final = 32


def public_key() -> bytes:
    """Return what others need to seal a message for this process."""
    return _own_key(os.getpid()).public_key().public_bytes_raw()


def seal(content: bytes, receiver: bytes) -> bytes:
    """Return a message that only the receiver can open.

    Parameters
    ----------
    content
        What to say.
    receiver
        The receiver's `public_key`.

    Notes
    -----
    X25519 with a key for this message only, HKDF-SHA256, ChaCha20-Poly1305 (RFC 7748,
    5869, 8439): the construction of HPKE (RFC 9180) in its base mode.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import (
        X25519PrivateKey,
        X25519PublicKey,
    )

    once = X25519PrivateKey.generate()
    shared = once.exchange(X25519PublicKey.from_public_bytes(receiver))
    sender = once.public_key().public_bytes_raw()
    return sender + _cipher(shared, sender + receiver).encrypt(bytes(12), content, None)


def unseal(message: bytes) -> bytes:
    """Return what was sealed for this process.

    Parameters
    ----------
    message
        From `seal`.

    Raises
    ------
    cryptography.exceptions.InvalidTag
        If it was sealed for another process, or changed.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    sender, sealed = message[:_KEY_BYTES], message[_KEY_BYTES:]
    key = _own_key(os.getpid())
    shared = key.exchange(X25519PublicKey.from_public_bytes(sender))
    return _cipher(shared, sender + public_key()).decrypt(bytes(12), sealed, None)


@functools.cache
def _own_key(_process: int) -> X25519PrivateKey:
    """Return this process's key; a forked one makes its own."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    return X25519PrivateKey.generate()


def _cipher(shared: bytes, parties: bytes) -> ChaCha20Poly1305:
    """Return the cipher for one message between two parties."""
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    derive = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_PURPOSE + parties)
    return ChaCha20Poly1305(derive.derive(shared))
