"""Dask clusters: the one that a site offers, as Dask's own objects."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from casa_env import join_backend, local_backend
from casa_env.delivery import deliver
from casa_env.errors import ClusterError, MissingPackageError
from casa_env.settings import Settings, load_settings

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

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
) -> LocalCluster:
    """Start a Dask cluster and return the native object.

    On a laptop it has one worker process for each core, up to four, and fewer with
    more threads above. On Binder it is threads in the notebook's own process. At a
    facility it is the back end that the site's settings name.

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
    distributed.LocalCluster
        The cluster. Who starts it stops it: use it in a ``with`` block, or close it.

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
    closing the client then leaves the scheduler and its workers alone.

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
    UnreachableError
        If a scheduler does not answer in time, or refuses us.
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
    deliver(client, settings)
    return client


@dataclass(frozen=True, kw_only=True)
class _Backend:
    """How a back end starts a cluster, and how a client gets to one."""

    cluster: Callable[..., LocalCluster]
    client: Callable[..., Client]


_BACKENDS: Final[Mapping[str, _Backend]] = {
    "local": _Backend(cluster=local_backend.cluster, client=local_backend.client),
    "join": _Backend(cluster=join_backend.cluster, client=join_backend.client),
}


def _backend(settings: Settings) -> _Backend:
    """Return the back end that the settings name."""
    _require_distributed()
    name = settings.dask_backend
    if name not in _BACKENDS:
        what = f"The Dask back end {name!r} comes in the next release."
        raise ClusterError(
            what,
            looked_at=f"dask_backend, from {settings.origin('dask_backend')}",
            next_step=f"Choose one that this version has: {' or '.join(_BACKENDS)}.",
        )
    return _BACKENDS[name]


def _require_distributed() -> None:
    """Raise unless `distributed` is installed; do not import it yet."""
    if find_spec("distributed") is None:
        what = "Dask clusters need the package distributed."
        step = "python -m pip install distributed"
        raise MissingPackageError(what, looked_at=sys.prefix, next_step=step)
