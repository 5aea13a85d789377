"""What a worker was given by its client: the token, and settings that go with it.

It is kept in this process's memory and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from casa_env.sealing import public_key, seal, unseal
from casa_env.tokens.bearer import (
    Delivery,
    parse_token,
    receive,
    settings_here,
)
from casa_env.tokens.bearer import expect_delivery as expect

__all__ = ["Delivery", "expect", "seal_for", "settings_here", "take"]


def seal_for(receivers: Iterable[bytes], delivery: Delivery) -> dict[bytes, bytes]:
    """Return messages that only their receivers can open.

    Parameters
    ----------
    receivers
        Their `casa_env.sealing.public_key`.
    delivery
        What to give them.
    """
    token = delivery.token
    content = json.dumps(
        {
            "token": token.value if token else "",
            "origin": token.origin if token else "",
            "settings": dict(delivery.settings),
        }
    ).encode()
    return {receiver: seal(content, receiver) for receiver in receivers}


def take(messages: Mapping[bytes, bytes]) -> None:
    """Keep what a client has given; it replaces what was given before.

    Parameters
    ----------
    messages
        From `seal_for`; the one for this process counts.
    """
    content = json.loads(unseal(messages[public_key()]))
    token = content["token"]
    receive(
        Delivery(
            token=parse_token(token, origin=content["origin"]) if token else None,
            settings=content["settings"],
        )
    )
