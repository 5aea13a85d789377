"""What a worker was given by its client: the token, and settings that go with it.

It is kept in this process's memory and nowhere else.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from casa_env.bearer_tokens import BearerToken, parse_token
from casa_env.sealing import public_key, seal, unseal
from casa_env.settings import Settings, load_settings

__all__ = ["Delivery", "expect", "received", "seal_for", "settings_here", "take"]

#: How long the first request waits for what was announced, in seconds.
WAIT_S: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a client gives its workers; its repr shows no value."""

    token: BearerToken | None
    settings: Mapping[str, Any] = field(repr=False)
    """What the client's own sources say about data, without secrets."""


class _Place:
    """Where this process keeps what it was given."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.arrived.set()  # nothing is waited for until it is announced
        self.delivery: Delivery | None = None


_HERE: Final = _Place()


def expect() -> None:
    """Announce a delivery: the first request waits for it, for a bounded time."""
    if _HERE.delivery is None:
        _HERE.arrived.clear()


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
    _HERE.delivery = Delivery(
        token=parse_token(token, origin=content["origin"]) if token else None,
        settings=content["settings"],
    )
    _HERE.arrived.set()


def received() -> Delivery | None:
    """Return what this process was given, waiting for what was announced."""
    if not _HERE.arrived.is_set():
        _HERE.arrived.wait(WAIT_S)
        _HERE.arrived.set()  # waited once: it does not come
    return _HERE.delivery


def settings_here() -> Settings:
    """Return the settings of this process, with what its client has given.

    On a laptop, on Binder and in the notebook these are `load_settings`'s. On a worker
    the client's token and data settings win, so that it reads as the notebook would.

    Raises
    ------
    SettingsError
        If the settings are wrong.
    """
    delivery = received()
    if delivery is None:
        return load_settings()
    token = {"bearer_token": delivery.token.value} if delivery.token else {}
    return load_settings(**dict(delivery.settings) | token)
