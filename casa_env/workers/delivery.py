"""The user's token on Dask workers: over TLS only, and renewed while they run.

A thread of the client looks at the token each second, as `bearer_token` finds it, and
gives it to every worker that has not got it yet. The scheduler passes it on unread, as
bytes that no log shows; a worker has it in memory, and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from casa_env.errors import CasaEnvError
from casa_env.settings import Settings, Source
from casa_env.tokens.bearer import Delivery, bearer_token
from casa_env.workers import remote

if TYPE_CHECKING:
    from distributed import Client

    from fsspec_failover import ReadReport

logger = logging.getLogger(__name__)

#: The plugin that announces a delivery to workers.
RECEIVER: Final = "casa-env-receiver"

#: Transports that nobody else can read; dask-gateway's is TLS too (its ``comm.py``).
_PRIVATE: Final = ("tls:", "wss:", "gateway:")

#: What a worker needs to know of the client's own settings, besides the token.
_SETTINGS: Final = (
    *("timeout_s", "token_hosts"),
    *("s3_endpoint", "s3_region", "s3_access_key", "s3_secret_key"),
)


def deliver(client: Client, settings: Settings) -> None:
    """Give the workers of a client what they need to read as the notebook does.

    Where nothing is configured nothing happens. Workers on this machine that are
    reached by ``tcp://`` find the token themselves, as any process of the user does.
    """
    address = str(getattr(client.scheduler, "address", ""))
    given = {  # a site's file is on the workers, too
        name: getattr(settings, name)
        for name in _SETTINGS
        if settings.source(name) > Source.SITE_FILE
    }
    if client.asynchronous or not (settings.token_hosts or given):
        return
    if not address.startswith(_PRIVATE):
        here = "inproc:", "tcp://127.", "tcp://localhost", "tcp://[::1]"
        if not address.startswith(here):
            logger.warning(
                "the bearer token is not given to the workers: %s is not TLS. Set "
                "dask_address to the scheduler's tls:// address.",
                address,
            )
        return
    client.register_plugin(remote.plugin("WorkerPlugin", "Receiver", RECEIVER))
    rounds = _rounds(client, settings, given)
    next(rounds)

    def go_on() -> None:
        pause = threading.Event()
        while client.status not in ("closed", "closing") and not pause.wait(1.0):
            next(rounds)

    threading.Thread(target=go_on, daemon=True, name="casa-token").start()


def _rounds(client: Any, settings: Settings, given: dict[str, Any]) -> Iterator[None]:  # noqa: ANN401 - a Client
    """Give the token to the workers that have not got it, at each step."""
    from distributed.protocol.serialize import Serialize

    complaint, served = "", dict[str, Delivery]()
    while True:
        try:
            delivery = Delivery(token=bearer_token(settings), settings=given)
            waiting = [
                worker
                for worker in client.scheduler_info(n_workers=-1)["workers"]
                if worker.startswith(_PRIVATE) and served.get(worker) != delivery
            ]
            if waiting and client.status == "running":
                opaque = Serialize(delivery)  # type: ignore[no-untyped-call]
                message = {"op": remote.DELIVERY, "delivery": opaque}
                broadcast = {"msg": message, "workers": waiting, "on_error": "ignore"}
                answers = client.sync(client.scheduler.broadcast, **broadcast)
                served |= dict.fromkeys(answers, delivery)
        except CasaEnvError as err:
            if str(err) != complaint:
                complaint = str(err)
                logger.warning("the workers keep the token they have: %s", err)
        except (OSError, RuntimeError, ValueError, asyncio.CancelledError) as err:
            # The scheduler is away, or the client is just being closed.
            logger.debug("no delivery: %s", type(err).__name__)
        yield


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
    from fsspec_failover import ReadReport

    reports = dict([_report(reset=reset)])
    if client is not None:
        found = client.run(_report, reset=reset, on_error="ignore")
        # Workers that are threads of this process are this process.
        reports = dict(found.values()) | reports
    return ReadReport.total(reports.values())


def _report(*, reset: bool) -> tuple[tuple[str, int], ReadReport]:
    """Return this process and what it has read."""
    from fsspec_failover import report

    return remote.process_here(), report(reset=reset)
