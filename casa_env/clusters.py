"""Dask clusters: the one that a site offers, as Dask's own objects."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from casa_env import batch_backend, gateway_backend, join_backend, local_backend
from casa_env.comparison import compare
from casa_env.delivery import deliver
from casa_env.errors import MissingPackageError
from casa_env.settings import Settings, load_settings
from casa_env.travel import plugin
from casa_env.waiting import wait_for_workers
from casa_env.worker_side import here

if TYPE_CHECKING:
    from distributed import Client
    from distributed.deploy.cluster import Cluster

__all__ = ["dask_client", "dask_cluster"]


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

    On a laptop it has one worker process for each core, up to four, and fewer with
    more threads above. On Binder it is threads in the notebook's own process. At a
    facility it is the back end that the site's settings name: jobs of its batch system,
    or a cluster of its Dask Gateway, connected by TLS.

    Parameters
    ----------
    backend
        One of ``casa_env.options.BACKENDS``; by default what the settings say.
    workers, threads, memory, processes
        Number of workers, threads of each, bytes (or text such as ``"2 GB"``) of
        each, and whether they are processes; by default what the settings say.
    settings
        Settings to use; by default those of this place.
    asynchronous
        ``True`` for code in an event loop, which awaits the cluster: JupyterLab's
        Dask panel does.
    **options
        More options of the native cluster; they win over ours.

    Returns
    -------
    distributed.deploy.cluster.Cluster
        The native cluster: a `distributed.LocalCluster`, the class of `dask_jobqueue`
        for the batch system, or a `dask_gateway.GatewayCluster`. Who starts it stops
        it: use it in a ``with`` block, or close it. ``dask_max_workers`` lets the
        number of its workers follow the work.

    Raises
    ------
    ClusterError
        If the cluster does not start, or the back end has nothing to start.
    MissingPackageError
        If `distributed` is not installed.
    SettingsError
        If a setting or one of the first arguments is wrong.
    """
    settings = settings or load_settings(
        dask_backend=backend,
        dask_workers=workers,
        dask_worker_threads=threads,
        dask_worker_memory_bytes=memory,
        dask_processes=processes,
    )
    start = _backend(settings).cluster
    return start(settings, asynchronous=asynchronous, **options)


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

    On a laptop and on Binder it starts a local cluster as `dask_cluster` does, and
    closing the client closes that cluster. At a facility it joins the scheduler at
    ``dask_address`` where there is one, with the site's certificates for ``tls://``;
    closing the client then leaves the scheduler and its workers alone. Or it starts a
    cluster of the site's batch system or Gateway, which closing the client stops, and
    waits for the first worker. Before the first task, the environments of scheduler
    and workers are compared with this one: see `casa_env.compare_environments`.

    Parameters
    ----------
    backend, workers, threads, memory, processes, settings, asynchronous
        As for `dask_cluster`.
    address
        The scheduler to join, such as ``tls://dask.example.org:8786``.
    timeout
        How long to wait for a scheduler to answer, in seconds.
    **options
        More options of `distributed.Client`, and of the cluster if one is started;
        they win over ours.

    Returns
    -------
    distributed.Client
        The client. With ``asynchronous=True`` it is connected once awaited.

    Raises
    ------
    ClusterError
        If a cluster does not start.
    EnvironmentMismatchError
        If scheduler or workers differ from what runs here: see ``dask_require``.
    UnreachableError
        If a scheduler does not answer in time, or refuses us.
    WorkersError
        If no worker comes within ``dask_wait_s``; it says what they wait for.
    MissingPackageError
        If `distributed` is not installed.
    SettingsError
        If a setting or one of the first arguments is wrong.

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
    connect = _backend(settings).client
    client = connect(settings, asynchronous=asynchronous, **options)
    if client.asynchronous:
        client._started = asyncio.ensure_future(  # noqa: SLF001 - what it awaits
            _prepared_later(client, client._started, settings)  # noqa: SLF001
        )
        return client
    try:
        client.sync(_prepare, client, settings)  # type: ignore[no-untyped-call]
        deliver(client, settings)
        if settings.dask_backend not in _AT_ONCE:
            wait_for_workers(client, timeout=settings.dask_wait_s)
    except BaseException:  # a cell that is interrupted leaves nothing behind
        client.close()  # type: ignore[no-untyped-call]
        raise
    return client


async def _prepare(client: Client, settings: Settings) -> None:
    """Do what comes between connecting and the first task, in this order."""
    for step in _STEPS:
        await step(client, settings)


async def _prepared_later(
    client: Client, started: Awaitable[Client], settings: Settings
) -> Client:
    """Await an asynchronous client, and prepare it."""
    await started
    try:
        await _prepare(client, settings)
    except BaseException:
        await client.close()  # type: ignore[no-untyped-call]
        raise
    return client


async def _same_environment(client: Client, settings: Settings) -> None:
    """Compare environments; the guard against later workers stays."""
    await compare(client, settings.dask_require)


async def _voices(client: Client, settings: Settings) -> None:
    """Let the notebook hear what tasks print and warn of."""
    if settings.dask_processes or settings.dask_backend != "local":
        await client.register_plugin(plugin("Voice", home=here()))


#: What is done once a client is connected: the environments are compared first, so that
#: nothing is sent to a worker that is another's.
_STEPS: Final[tuple[Callable[[Client, Settings], Awaitable[None]], ...]] = (
    _same_environment,
    _voices,
)

#: The back ends whose workers are there once the client is.
_AT_ONCE: Final = ("local", "join")


@dataclass(frozen=True, kw_only=True)
class _Backend:
    """How a back end starts a cluster, and how a client gets to one."""

    cluster: Callable[..., Cluster]
    client: Callable[..., Client]


_BACKENDS: Final[Mapping[str, _Backend]] = {
    "local": _Backend(cluster=local_backend.cluster, client=local_backend.client),
    "join": _Backend(cluster=join_backend.cluster, client=join_backend.client),
    "gateway": _Backend(cluster=gateway_backend.cluster, client=gateway_backend.client),
    **dict.fromkeys(
        ("slurm", "htcondor", "pbs", "lsf", "sge"),
        _Backend(cluster=batch_backend.cluster, client=batch_backend.client),
    ),
}


def _backend(settings: Settings) -> _Backend:
    """Return the back end that the settings name."""
    _require_distributed()
    return _BACKENDS[settings.dask_backend]


def _require_distributed() -> None:
    """Raise unless `distributed` is installed; do not import it yet."""
    if find_spec("distributed") is None:
        what = "Dask clusters need the package distributed."
        step = "python -m pip install distributed"
        raise MissingPackageError(what, looked_at=sys.prefix, next_step=step)
