"""Dask clusters: the one that a site offers, as Dask's own objects."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from casa_env.errors import ClusterError, innermost, require_package
from casa_env.settings import Settings, load_settings
from casa_env.workers import batch, gateway, joined, local
from casa_env.workers.delivery import deliver
from casa_env.workers.sameness import compare
from casa_env.workers.waiting import wait_for_workers

if TYPE_CHECKING:
    from distributed import Client
    from distributed.deploy.cluster import Cluster

#: By back end: what starts a cluster.
_CLUSTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "local": local.cluster,
    "join": joined.cluster,
    "gateway": gateway.cluster,
    **dict.fromkeys(("slurm", "htcondor", "pbs", "lsf", "sge"), batch.cluster),
}

#: What makes a client of its own kind; others are clients of a cluster started above.
_CLIENTS: Final[Mapping[str, Callable[..., Any]]] = {
    "local": local.client,
    "join": joined.client,
}


def dask_cluster(
    *,
    backend: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    processes: bool | None = None,
    settings: Settings | None = None,
    asynchronous: bool = False,
    **options: Any,  # noqa: ANN401 - the native cluster's own options
) -> Cluster:
    """Start a Dask cluster and return the native object.

    On a laptop it has a worker process for each core, up to four, and fewer with more
    threads above; on Binder threads in the notebook's own process. At a facility it is
    what the site's settings name: jobs of its batch system (a class of `dask_jobqueue`)
    or a `dask_gateway.GatewayCluster`, both connected by TLS.

    Parameters
    ----------
    backend
        One of ``casa_env.settings.table.BACKENDS``.
    workers, threads, memory, processes
        Number of workers, threads of each, bytes (or text such as ``"2 GB"``) of
        each, and whether they are processes.
    settings
        Used instead of these arguments; by default the settings of this place.
    asynchronous
        ``True`` for code in an event loop, which awaits what is returned.
    **options
        More options of the native cluster; they win over ours.

    Raises
    ------
    ClusterError
        If the cluster does not start, or the back end has nothing to start.
    """
    settings = settings or load_settings(
        dask_backend=backend,
        dask_workers=workers,
        dask_worker_threads=threads,
        dask_worker_memory_bytes=memory,
        dask_processes=processes,
    )
    _require_dask("A Dask cluster")
    start = _CLUSTERS[settings.dask_backend]
    return start(settings, asynchronous=asynchronous, **options)  # type: ignore[no-any-return]


def dask_client(
    *,
    backend: str | None = None,
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    memory: int | str | None = None,
    processes: bool | None = None,
    timeout: float | None = None,
    settings: Settings | None = None,
    asynchronous: bool = False,
    **options: Any,  # noqa: ANN401 - the native client's own options
) -> Client:
    """Return a native Dask client of a cluster that was started or joined.

    On a laptop and on Binder it starts a local cluster as `dask_cluster` does. At a
    facility it joins the scheduler at ``dask_address`` where there is one, with the
    site's certificates for ``tls://``, or starts a cluster and waits for its first
    worker. Closing the client closes a cluster that was started; a scheduler that was
    joined goes on. Before the first task `casa_env.compare_environments` compares. What
    workers print and log is brought here by ``client.forward_logging()`` and the plugin
    ``ForwardOutput``, both of `distributed`.

    Parameters
    ----------
    backend, workers, threads, memory, processes, settings, asynchronous
        As for `dask_cluster`.
    address
        The scheduler to join, such as ``tls://dask.example.org:8786``.
    timeout
        How long to wait for a scheduler to answer, in seconds.
    **options
        More options of `distributed.Client`, and of the cluster if one is started.

    Raises
    ------
    ClusterError
        If a cluster does not start; of kind ``unreachable`` if a scheduler does not
        answer in time, or refuses us; of kind ``workers`` if none comes in time.
    EnvironmentMismatchError
        If scheduler or workers differ from what runs here: see ``dask_require``.

    Examples
    --------
    >>> with dask_client(processes=False, workers=1, threads=1) as client:
    ...     client.submit(sum, [1, 2, 3]).result()
    6
    """
    settings = settings or load_settings(
        dask_backend=backend,
        dask_address=address,
        dask_workers=workers,
        dask_worker_threads=threads,
        dask_worker_memory_bytes=memory,
        dask_processes=processes,
        timeout_s=timeout,
    )
    _require_dask("A Dask client")
    connect: Callable[..., Any] = _CLIENTS.get(
        settings.dask_backend, _client_and_cluster
    )
    client: Any = connect(settings, asynchronous=asynchronous, **options)
    if client.asynchronous:
        # What awaiting the client awaits.
        compared = _compared(client, client._started, settings)  # noqa: SLF001
        client._started = asyncio.ensure_future(compared)  # noqa: SLF001
        return client  # type: ignore[no-any-return]
    try:
        client.sync(compare, client, settings.dask_require)
        deliver(client, settings)
        if settings.dask_backend not in _CLIENTS:
            wait_for_workers(client, timeout=settings.dask_wait_s)
    except BaseException:  # a cell that is interrupted leaves nothing behind
        client.close()
        raise
    return client  # type: ignore[no-any-return]


def _require_dask(why: str) -> None:
    require_package("distributed", why=why)
    try:
        import_module("distributed")
    except (OSError, ValueError) as err:  # a file of Dask's configuration is malformed
        what = f"{why} cannot be had: Dask does not take its configuration."
        step = "Correct that file; DASK_CONFIG, or the site, says which are read."
        where = " ".join(f"{innermost(err)}; {err}".split())
        raise ClusterError(what, looked_at=where, next_step=step) from err


async def _compared(client: Any, started: Any, settings: Settings) -> Any:  # noqa: ANN401 - a Client
    await started
    try:
        await compare(client, settings.dask_require)
    except BaseException:
        await client.close()
        raise
    return client


def _client_and_cluster(settings: Settings, **options: Any) -> Client:  # noqa: ANN401
    """Start a cluster and a client of it; closing the client closes both.

    `distributed` does so for a `LocalCluster` that a client has started, and for no
    other cluster: this can go when it does so for any.
    """
    from distributed import Client

    names = options.keys() & inspect.signature(Client).parameters.keys()
    mine = {"timeout": settings.timeout_s} | {n: options.pop(n) for n in names}
    asynchronous = mine.get("asynchronous", False)
    start = _CLUSTERS[settings.dask_backend]
    cluster = start(settings, asynchronous=asynchronous, **options)
    try:
        client = Client(cluster, **mine)  # type: ignore[no-untyped-call]
    except BaseException:
        if not asynchronous:
            cluster.close()
        raise
    close_client = client._close  # noqa: SLF001 - the one place that all ways go through

    async def close_both(*arguments: Any, **options: Any) -> None:  # noqa: ANN401
        try:
            await close_client(*arguments, **options)
        finally:
            # Not a cluster's `close`, which waits for the loop that this runs in.
            close = getattr(cluster, "_close", None)
            await (close() if close else gateway.close(cluster))

    client._close = close_both  # type: ignore[method-assign]  # noqa: SLF001
    return client
