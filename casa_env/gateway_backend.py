"""A cluster of Dask Gateway's: asked for, waited for, stopped with its client."""

from __future__ import annotations

import inspect
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from casa_env.errors import ClusterError, MissingPackageError, UnreachableError
from casa_env.network import host_and_port, tcp_problem
from casa_env.ownership import own
from casa_env.settings import Settings
from casa_env.travel import plugin

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["client", "cluster"]

logger = logging.getLogger(__name__)

#: How often the Gateway is asked how far it is, in seconds.
POLL_S: Final = 0.5

#: How long a client may be away before its cluster is stopped: longer than it takes
#: Dask to connect again.
ABSENCE_S: Final = 60.0


def cluster(settings: Settings, *, asynchronous: bool = False, **options: Any) -> Any:  # noqa: ANN401 - untyped
    """Ask a Gateway for a cluster, and wait until its scheduler runs.

    Parameters
    ----------
    settings
        Where the Gateway is, and how many workers to ask for.
    asynchronous
        ``True``: the cluster starts when it is awaited.
    **options
        Options of `dask_gateway.GatewayCluster`, among them those of the Gateway's own
        clusters, such as ``worker_memory``; they win.

    Returns
    -------
    dask_gateway.GatewayCluster
        The cluster. Closing it stops it.

    Raises
    ------
    ClusterError
        If the Gateway does not start it.
    MissingPackageError
        If `dask_gateway` is not installed.
    UnreachableError
        If there is no Gateway, or it refuses us.
    """
    _require_gateway(settings)
    import dask_gateway

    places = {
        "address": settings.dask_gateway_address,
        "proxy_address": settings.dask_gateway_proxy_address or None,
    }
    if asynchronous:
        return _asynchronous(settings, places | options)
    native = {
        name: options.pop(name)
        for name in ("public_address", "auth", "loop")
        if name in options
    }
    with _explained(settings):
        gateway = dask_gateway.Gateway(**places | native)
        name = gateway.submit(**options)
        try:
            _wait(gateway, name, settings)
            started = gateway.connect(name, shutdown_on_close=True)
        except BaseException:
            gateway.stop_cluster(name)
            raise
        finally:
            gateway.close()  # the cluster has one of its own, in the same loop
            _calm(gateway)
    try:
        least = settings.dask_workers or 1
        if settings.dask_max_workers:
            started.adapt(minimum=least, maximum=settings.dask_max_workers)
        else:
            started.scale(least)
    except BaseException:
        started.close()
        raise
    logger.info("the Gateway started %s", name)
    return started


def client(settings: Settings, **options: Any) -> Client:  # noqa: ANN401 - native
    """Ask for a cluster, and return a client that owns it.

    Parameters
    ----------
    settings
        As for `cluster`.
    **options
        Options of `distributed.Client`, and others of the cluster; they win.

    Raises
    ------
    ClusterError, UnreachableError
        As for `cluster`.
    """
    from distributed import Client

    names = inspect.signature(Client).parameters
    mine = {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    asynchronous = mine.get("asynchronous", False)
    started = cluster(settings, asynchronous=asynchronous, **rest)
    defaults = {"timeout": settings.timeout_s, "loop": started.loop}
    if not asynchronous:
        defaults["security"] = started.security
    try:
        connected = Client(started, **defaults | mine)  # type: ignore[no-untyped-call]
        if not asynchronous:
            # A kernel that dies closes nothing; the scheduler notices.
            watch = plugin("Watch", owner=connected.id, absence_s=ABSENCE_S)
            connected.register_plugin(watch)
    except BaseException:
        if not asynchronous:
            started.close()
        raise
    return own(connected, started, after=lambda: _calm(started.gateway))


def _calm(gateway: Any) -> None:  # noqa: ANN401 - untyped
    """Keep a Gateway that is closed from complaining when it is collected.

    It would close again, and ask for a loop that may have stopped (dask-gateway
    2026.3.0, ``Gateway.__del__``); an asynchronous one does not.
    """
    gateway._asynchronous = True  # noqa: SLF001


def _require_gateway(settings: Settings) -> None:
    """Raise unless the package is here and somebody listens where the Gateway is."""
    if find_spec("dask_gateway") is None:
        what = "Dask Gateway needs the package dask-gateway."
        step = "python -m pip install dask-gateway"
        raise MissingPackageError(what, looked_at=sys.prefix, next_step=step)
    where = _where(settings)
    place = host_and_port(settings.dask_gateway_address)
    if place is None:
        what = "There is no Gateway to ask: this is not a Gateway's address."
        step = "Set dask_gateway_address to https://host, or http://host:port."
        raise ClusterError(what, looked_at=where, next_step=step)
    if problem := tcp_problem(*place, timeout=settings.timeout_s):
        what = "The Dask Gateway does not answer."
        step = "Check that it runs; dask_client(backend='local') computes here."
        raise UnreachableError(what, looked_at=f"{where}: {problem}", next_step=step)


def _asynchronous(settings: Settings, options: dict[str, Any]) -> Any:  # noqa: ANN401
    """Return a cluster that starts, and asks for its workers, when it is awaited."""
    import dask_gateway

    started = dask_gateway.GatewayCluster(asynchronous=True, **options)
    start = started._start_async  # noqa: SLF001 - what awaiting it runs, once

    async def start_and_scale() -> None:
        await start()
        await started.scale(settings.dask_workers or 1)

    started._start_async = start_and_scale  # noqa: SLF001
    return started


def _wait(gateway: Any, name: str, settings: Settings) -> None:  # noqa: ANN401 - untyped
    """Wait until a scheduler runs, in a bounded time."""
    deadline = time.monotonic() + settings.dask_wait_s
    while (status := gateway.get_cluster(name).status.name) != "RUNNING":
        problem = ""
        if status in ("FAILED", "STOPPED"):
            problem = f"the Gateway says: {status.lower()}"
        elif time.monotonic() > deadline:
            problem = f"it is {status.lower()} after {settings.dask_wait_s:g} s"
        if problem:
            what = "The Gateway did not start a scheduler."
            step = "Ask the site for the Gateway's log, or wait longer: dask_wait_s."
            where = f"cluster {name} at {_where(settings)}: {problem}"
            raise ClusterError(what, looked_at=where, next_step=step)
        time.sleep(POLL_S)


@contextmanager
def _explained(settings: Settings) -> Iterator[None]:
    """Word what a Gateway's refusals mean."""
    import aiohttp
    from dask_gateway import GatewayClusterError, GatewayServerError

    try:
        yield
    except aiohttp.ClientResponseError as err:
        what = f"The Dask Gateway refuses us: {err.status} {err.message}."
        step = "See gateway.auth of Dask's configuration: user, password, or type "
        step += "jupyterhub on a hub."
        raise UnreachableError(
            what, looked_at=_where(settings), next_step=step
        ) from err
    except (
        aiohttp.ClientError,
        GatewayClusterError,
        GatewayServerError,
        TimeoutError,
        ValueError,
    ) as err:
        what = f"The Dask Gateway did not start a cluster: {err}"
        step = "Correct the options given, or ask the site."
        raise ClusterError(what, looked_at=_where(settings), next_step=step) from err


def _where(settings: Settings) -> str:
    """Return the Gateway's address and who says so."""
    name = "dask_gateway_address"
    return f"{settings.shown(name)}, from {settings.origin(name)}"
