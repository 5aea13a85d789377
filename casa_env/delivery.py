"""The user's token on Dask workers: over TLS only, and renewed while they run.

A thread of the client looks at the token each second, as `bearer_token` finds it, and
gives it to every worker that has not got it yet: one that has just started, or all of
them when the token was renewed. It travels sealed for its worker and is kept in the
workers' memory: not in a job script, a task, a plugin, a log or the scheduler.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from casa_env.credentials import bearer_token
from casa_env.errors import CasaEnvError
from casa_env.reading import LEDGER, ReadReport
from casa_env.received import Delivery, expect, seal_for, take
from casa_env.sealing import public_key
from casa_env.settings import Settings, Source

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["deliver", "read_report"]

logger = logging.getLogger(__name__)

#: How often it is looked whether there is a new token or a new worker, in seconds.
INTERVAL_S: Final = 1.0

#: Transports whose content nobody else can read: TLS, and the process itself.
#: dask-gateway's is TLS too (``dask_gateway/comm.py``).
PRIVATE: Final = ("tls", "wss", "inproc", "gateway")

#: What a worker needs to know of the client's own settings, besides the token.
_SETTINGS: Final = (
    "timeout_s",
    "token_hosts",
    "s3_endpoint",
    "s3_region",
    "s3_access_key",
    "s3_secret_key",
)

_LOST: Final = (OSError, RuntimeError, ValueError, asyncio.CancelledError)


def deliver(client: Client, settings: Settings) -> None:
    """Give the workers of a client what they need to read as the notebook does.

    On a laptop and on Binder nothing is configured and nothing happens. At a facility
    every worker, also one that starts later, gets the user's token and keeps getting
    the renewed one, until the client closes.

    Parameters
    ----------
    client
        A connected client.
    settings
        The settings it was made with.

    Notes
    -----
    Workers on this machine that are reached by ``tcp://`` find the token themselves,
    as any process of the user does; elsewhere, without TLS, it is not sent, and a
    warning says so.
    """
    if client.asynchronous or not _anything(settings):
        return
    address = str(getattr(client.scheduler, "address", ""))
    scheme, _, rest = address.partition("://")
    if scheme == "inproc":
        return  # workers are threads of this process
    if scheme not in PRIVATE:
        if not rest.startswith(("127.", "localhost", "[::1]")):
            logger.warning(
                "the bearer token is not given to the workers: %s is not TLS. Set "
                "dask_address to the scheduler's tls:// address.",
                address,
            )
        return
    client.register_plugin(_announcement(), name="casa-env-delivery")
    round_ = _Rounds(client, settings)
    round_.once()
    threading.Thread(target=round_.until_closed, daemon=True, name="casa-token").start()


def read_report(client: Client | None = None, *, reset: bool = False) -> ReadReport:
    """Return what was read from where: here, and by a client's workers.

    On a laptop and on Binder files are read directly, and the report is empty. At a
    facility it shows files and bytes by source, and each failover with its reason.

    Parameters
    ----------
    client
        The client whose workers are asked too.
    reset
        Begin anew, so that the next report is of the next run only.

    Returns
    -------
    ReadReport
        Printed, it is a table.
    """
    reports = {_process(): LEDGER.report(reset=reset)}
    if client is not None:
        found = client.run(_report, reset=reset, on_error="ignore")
        # workers that are threads of this process are this process
        reports = dict(found.values()) | reports
    return ReadReport.total(reports.values())


class _Rounds:
    """Who has got what already."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._delivery: Delivery | None = None
        self._served: set[str] = set()
        self._complaint = ""

    def once(self) -> None:
        """Give the token to the workers that have not got it."""
        try:
            token = bearer_token(self._settings)
        except CasaEnvError as err:
            if str(err) != self._complaint:
                self._complaint = str(err)
                logger.warning("the workers keep the token they have: %s", err)
            return
        delivery = Delivery(token=token, settings=_own(self._settings))
        if delivery != self._delivery:
            self._delivery, self._served = delivery, set()
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        waiting = [w for w in workers if w not in self._served and _private(w)]
        if waiting:
            given: dict[str, Any] = {"workers": waiting, "on_error": "ignore"}
            keys = self._client.run(public_key, **given)
            messages = seal_for(keys.values(), delivery)
            done = self._client.run(take, messages, **given)
            self._served |= set(done)
            logger.debug("gave %d workers %s", len(done), token or "settings")

    def until_closed(self) -> None:
        """Do so each second while the client is connected."""
        pause = threading.Event()
        while not pause.wait(INTERVAL_S):
            try:
                if self._client.status in ("closed", "closing"):
                    return
                if self._client.status == "running":
                    self.once()
            except _LOST as err:
                # the scheduler is away, or the client is just being closed
                logger.debug("no delivery: %s", type(err).__name__)


def _anything(settings: Settings) -> bool:
    """Tell whether there is anything to give: a token with a place to go, or more."""
    return bool(settings.token_hosts or _own(settings))


def _own(settings: Settings) -> dict[str, Any]:
    """Return the client's own settings: a site's file is on the workers, too."""
    return {
        name: getattr(settings, name)
        for name in _SETTINGS
        if settings.source(name) > Source.SITE_FILE
    }


def _private(address: str) -> bool:
    """Tell whether nobody else can read what is sent to a worker."""
    return address.partition("://")[0] in PRIVATE


def _announcement() -> Any:  # noqa: ANN401 - distributed is imported late
    """Return a plugin that lets a worker that starts wait for its delivery."""
    from distributed import WorkerPlugin

    class Announcement(WorkerPlugin):
        """Holds no secret: the scheduler keeps it for workers to come."""

        def __init__(self, announce: Callable[[], None]) -> None:
            self.announce = announce

        def setup(self, worker: Any) -> None:  # noqa: ANN401, ARG002 - distributed's
            self.announce()

    return Announcement(expect)


def _process() -> tuple[str, int]:
    """Return what tells this process from others."""
    return socket.gethostname(), os.getpid()


def _report(*, reset: bool) -> tuple[tuple[str, int], ReadReport]:
    """Return this process and what it has read."""
    return _process(), LEDGER.report(reset=reset)
