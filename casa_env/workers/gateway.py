"""A cluster of Dask Gateway's: asked for, waited for, stopped with its client.

A notebook that dies closes nothing: its cluster lives on for the Gateway's
``idle_timeout``, which a site should set.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from casa_env.errors import ClusterError, require_package
from casa_env.network import host_and_port, tcp_problem
from casa_env.settings import Settings


def cluster(settings: Settings, *, asynchronous: bool = False, **options: Any) -> Any:  # noqa: ANN401 - untyped
    """Ask a Gateway for a cluster, and wait until its scheduler runs."""
    require_package("dask-gateway", why="Dask Gateway")
    _require_answer(settings)
    import dask_gateway

    places = {
        "address": settings.dask_gateway_address,
        "proxy_address": settings.dask_gateway_proxy_address or None,
    }
    least = settings.dask_workers or 1
    if asynchronous:
        started = dask_gateway.GatewayCluster(asynchronous=True, **places | options)
        start = started._start_async  # noqa: SLF001 - what awaiting it runs, once

        async def start_and_scale() -> None:
            await start()
            await started.scale(least)

        started._start_async = start_and_scale  # noqa: SLF001
        return started
    names = options.keys() & {"public_address", "auth", "loop"}
    native = {name: options.pop(name) for name in names}
    with _explained(settings):
        gateway = dask_gateway.Gateway(**places | native)
        name = gateway.submit(**options)
        try:
            _wait(gateway, name, settings)
            started = gateway.connect(name, shutdown_on_close=True)
            if settings.dask_max_workers:
                started.adapt(minimum=least, maximum=settings.dask_max_workers)
            else:
                started.scale(least)
        except BaseException:
            gateway.stop_cluster(name)
            raise
        finally:
            gateway.close()  # the cluster has one of its own, in the same loop
            _silence(gateway)
    return started


async def close(cluster: Any) -> None:  # noqa: ANN401 - untyped
    """Stop a cluster from within its event loop, for which its own ``close`` waits."""
    await cluster._stop_internal()  # noqa: SLF001
    _silence(cluster.gateway)


def _silence(gateway: Any) -> None:  # noqa: ANN401 - untyped
    # Collected, it would close again, and ask for a loop that may have stopped
    # (dask-gateway 2026.3.0, ``Gateway.__del__``); an asynchronous one does not.
    gateway._asynchronous = True  # noqa: SLF001


def _require_answer(settings: Settings) -> None:
    where = settings.where("dask_gateway_address")
    place = host_and_port(settings.dask_gateway_address)
    if place is None:
        what = "There is no Gateway to ask: this is not a Gateway's address."
        step = "Set dask_gateway_address to https://host, or http://host:port."
        raise ClusterError(what, looked_at=where, next_step=step)
    if problem := tcp_problem(*place, timeout=settings.timeout_s):
        what, where = "The Dask Gateway does not answer.", f"{where}: {problem}"
        step = "Check that it runs; dask_client(backend='local') computes here."
        raise ClusterError(what, looked_at=where, next_step=step, kind="unreachable")


def _wait(gateway: Any, name: str, settings: Settings) -> None:  # noqa: ANN401 - untyped
    deadline = time.monotonic() + settings.dask_wait_s
    while (status := gateway.get_cluster(name).status.name) != "RUNNING":
        late = time.monotonic() > deadline
        if late or status in ("FAILED", "STOPPED"):
            what = "The Gateway did not start a scheduler."
            step = "Ask the site for the Gateway's log, or wait longer: dask_wait_s."
            where = (
                f"cluster {name} at {settings.where('dask_gateway_address')}: it is "
            )
            where += status.lower() + f" after {settings.dask_wait_s:g} s" * late
            raise ClusterError(what, looked_at=where, next_step=step)
        time.sleep(0.5)


@contextmanager
def _explained(settings: Settings) -> Iterator[None]:
    import aiohttp
    from dask_gateway import GatewayClusterError, GatewayServerError

    problems = aiohttp.ClientError, GatewayClusterError, GatewayServerError
    try:
        yield
    except (*problems, TimeoutError, ValueError) as err:
        what, kind = f"The Dask Gateway did not start a cluster: {err}", ""
        step = "Correct the options given, or ask the site."
        if isinstance(err, aiohttp.ClientResponseError):
            what = f"The Dask Gateway refuses us: {err.status} {err.message}."
            step = "See gateway.auth of Dask's configuration: user, password, or type "
            step, kind = f"{step}jupyterhub on a hub.", "unreachable"
        where = settings.where("dask_gateway_address")
        raise ClusterError(what, looked_at=where, next_step=step, kind=kind) from err
