from __future__ import annotations

from casa_env.sealing import public_key, seal, unseal


def test_a_sealed_message_is_opened_by_whom_it_is_for_and_shows_nothing() -> None:
    message = seal(b"a secret", public_key())
    assert unseal(message) == b"a secret"
    assert b"secret" not in message
    assert seal(b"a secret", public_key()) != message
