"""Dask on this machine: how large, and started as a cluster or as a client's own."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from casa_env.errors import ClusterError
from casa_env.settings import Settings

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

__all__ = ["LocalSize", "client", "cluster", "local_size", "size_here"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LocalSize:
    """How large a local cluster is."""

    workers: int
    """Number of workers."""

    threads: int
    """Threads of each."""

    memory_bytes: int
    """Memory of each, in bytes."""


def local_size(settings: Settings, *, cores: int, memory_bytes: int) -> LocalSize:
    """Return the size of a local cluster.

    Parameters
    ----------
    settings
        What is asked for, and the limits of this session.
    cores
        Cores of the machine that this process may use.
    memory_bytes
        Memory of the machine that this process may use, in bytes.

    Returns
    -------
    LocalSize
        On a laptop all cores and all memory. On Binder and at a facility no more
        than the session's limits; of a memory limit, a worker's share is left to the
        notebook, which is counted against the same limit.

    Notes
    -----
    A fraction of a core counts as one, and up to four cores each get a process of
    their own; more are shared out to processes and threads. Both rules are Dask's
    (``dask.system.cpu_count``, ``distributed.deploy.utils.nprocesses_nthreads``).
    """
    if settings.cpu_limit:
        cores = max(1, min(cores, math.ceil(settings.cpu_limit)))
    workers, threads = settings.dask_workers, settings.dask_worker_threads
    if not settings.dask_processes:
        workers = workers or 1
    elif not workers:
        workers = max(1, cores // threads) if threads else _processes(cores)
    threads = threads or max(1, cores // workers)
    shares = workers
    if settings.memory_limit_bytes and settings.memory_limit_bytes <= memory_bytes:
        memory_bytes = settings.memory_limit_bytes
        shares += settings.dask_processes
    each = settings.dask_worker_memory_bytes or memory_bytes // shares
    return LocalSize(workers=workers, threads=threads, memory_bytes=each)


def _processes(cores: int) -> int:
    """Return Dask's number of processes for a number of cores."""
    from distributed.deploy import utils

    processes: int = utils.nprocesses_nthreads(cores)[0]  # type: ignore[no-untyped-call]
    return processes


def size_here(settings: Settings) -> LocalSize:
    """Return the size of a local cluster on this machine.

    Parameters
    ----------
    settings
        What is asked for, and the limits of this session.
    """
    from dask.system import cpu_count
    from distributed.system import MEMORY_LIMIT

    return local_size(settings, cores=cpu_count(), memory_bytes=MEMORY_LIMIT)


def cluster(settings: Settings, **options: Any) -> LocalCluster:  # noqa: ANN401 - native
    """Start workers on this machine.

    Parameters
    ----------
    settings
        What is asked for, and the limits of this session.
    **options
        Options of `distributed.LocalCluster`; they win.

    Raises
    ------
    ClusterError
        If the cluster does not start.
    """
    import distributed

    began = time.monotonic()
    try:
        started = distributed.LocalCluster(**_native_options(settings) | options)  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as err:
        raise _not_started(err) from err
    logger.info("LocalCluster started in %.1f s", time.monotonic() - began)
    return started


def client(settings: Settings, **options: Any) -> Client:  # noqa: ANN401 - native
    """Let a client start workers on this machine; closing it closes them.

    Parameters
    ----------
    settings
        What is asked for, and the limits of this session.
    **options
        Options of `distributed.Client` and `distributed.LocalCluster`; they win.

    Raises
    ------
    ClusterError
        If the cluster does not start.
    """
    import dask
    import distributed

    began = time.monotonic()
    defaults = {"timeout": settings.timeout_s, **_native_options(settings)}
    try:
        # A client without an address starts a LocalCluster of its own, unless Dask's
        # configuration names a scheduler; the settings have already decided that.
        with dask.config.set({"scheduler-address": None}):
            started = distributed.Client(**defaults | options)  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as err:
        raise _not_started(err) from err
    logger.info("LocalCluster and Client started in %.1f s", time.monotonic() - began)
    return started


def _native_options(settings: Settings) -> dict[str, Any]:
    """Return the options of `distributed.LocalCluster`."""
    size = size_here(settings)
    options: dict[str, Any] = {
        "n_workers": size.workers,
        "threads_per_worker": size.threads,
        "memory_limit": size.memory_bytes,
        "processes": settings.dask_processes,
        "dashboard_address": settings.dask_dashboard or None,
    }
    if not settings.dask_dashboard:
        # Without a dashboard, Dask still answers health checks: by default on port
        # 8787, and warns where that is taken.
        options["scheduler_kwargs"] = {"dashboard_address": "127.0.0.1:0"}
    return options


def _not_started(err: Exception) -> ClusterError:
    """Word the error of a local cluster that did not start."""
    what = "The local Dask cluster did not start."
    return ClusterError(
        what,
        looked_at=f"{type(err).__name__}: {err}",
        next_step="In a script, start it below `if __name__ == '__main__':`, because "
        "each worker process imports the script. Elsewhere, read the lines above, or "
        "try threads: CASA_ENV_DASK_PROCESSES=false.",
    )
