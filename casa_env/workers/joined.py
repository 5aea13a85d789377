"""A Dask scheduler that is already there: joined, and left as it was found."""

from __future__ import annotations

import asyncio
import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from casa_env.errors import ClusterError, innermost
from casa_env.network import tcp_problem
from casa_env.settings import Settings
from casa_env.workers.delivery import RECEIVER
from casa_env.workers.sameness import GUARD, shipped_to
from casa_env.workers.ship import plugin_name
from casa_env.workers.tls import site_security

#: Addresses that `distributed` connects to: a scheme is optional, a port is not.
_ADDRESS: Final = re.compile(
    r"(?:(?P<scheme>tcp|tls|ws|wss)://)?(?P<host>\[[^\]]+\]|[^:/\s]+):(?P<port>\d{1,5})/?"
)


def cluster(settings: Settings, **_options: Any) -> Any:  # noqa: ANN401 - native
    """Raise: a scheduler that is joined was started by somebody else."""
    what = "There is no cluster to start: the scheduler is already there."
    step = "Join it with dask_client(), or start one of your own with "
    step += "dask_cluster(backend='local')."
    raise ClusterError(what, looked_at=settings.where("dask_address"), next_step=step)


def client(settings: Settings, **options: Any) -> Any:  # noqa: ANN401 - native
    """Connect to a scheduler that is there, in a bounded time."""
    from distributed import Client

    where = settings.where("dask_address")
    address = _ADDRESS.fullmatch(settings.dask_address)
    if address is None:
        what = "There is no scheduler to join: this is not a scheduler's address."
        step = "Set dask_address to tls://host:port or tcp://host:port."
        raise ClusterError(what, looked_at=where, next_step=step)
    if address["scheme"] in ("tls", "wss") and "security" not in options:
        options["security"] = site_security(settings)
    timeout = float(options.setdefault("timeout", settings.timeout_s))
    try:
        if not options.get("asynchronous"):
            _shake_hands(settings.dask_address, options.get("security"), timeout)
        joined = Client(settings.dask_address, **options)  # type: ignore[no-untyped-call]
    except OSError as err:
        host, port = address["host"].strip("[]"), int(address["port"])
        problem = tcp_problem(host, port, timeout=1.0)
        problem = problem or f"it accepts connections, but {innermost(err)}"
        what = f"The Dask scheduler was not joined within {timeout:g} s."
        step = "Check that it runs, and its address and certificates; "
        step += "dask_client(backend='local') computes on this machine."
        raise ClusterError(
            what, looked_at=f"{where}: {problem}", next_step=step, kind="unreachable"
        ) from err
    return _leaving_nothing(joined)


def _shake_hands(address: str, security: Any, timeout: float) -> None:  # noqa: ANN401
    """Connect and hang up, in a bounded time.

    A client would wait forever for the handshake of a server that says nothing, such
    as a forwarded port (distributed 2026.8.0, ``comm/core.py``, ``connect``).
    """
    from distributed import Security
    from distributed.comm.core import connect

    security = security or Security()  # type: ignore[no-untyped-call]
    arguments = security.get_connection_args("client")

    async def shake_hands() -> None:
        attempt = connect(address, timeout=timeout, **arguments)  # type: ignore[no-untyped-call]
        comm = await asyncio.wait_for(attempt, timeout)
        comm.abort()

    # A thread of its own, because in a notebook an event loop runs in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, shake_hands()).result()


def _leaving_nothing(client: Any) -> Any:  # noqa: ANN401 - a Client
    """Let closing a client take its worker plugins along, and return the client."""
    close_client = client._close  # noqa: SLF001 - the one place that all ways go through

    async def close(*arguments: Any, **options: Any) -> None:  # noqa: ANN401
        comm = getattr(client.scheduler_comm, "comm", None)
        if comm is not None and not comm.closed():
            for name in (GUARD, RECEIVER, *map(plugin_name, shipped_to(client))):
                # It may be there no longer, or the scheduler may be gone.
                with contextlib.suppress(OSError, TimeoutError, ValueError):
                    farewell = client._unregister_worker_plugin(name)  # noqa: SLF001
                    await asyncio.wait_for(farewell, 5.0)
        await close_client(*arguments, **options)

    client._close = close  # noqa: SLF001
    return client
