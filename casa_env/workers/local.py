"""Dask on this machine: how large, and started as a cluster or as a client's own."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from casa_env.errors import ClusterError
from casa_env.settings import Settings


class LocalSize(NamedTuple):
    """How large a local cluster is: workers, and threads and memory of each."""

    workers: int
    threads: int
    memory_bytes: int


def local_size(settings: Settings, *, cores: int, memory_bytes: int) -> LocalSize:
    """Return the size of a local cluster, given what this process may use.

    Of a session's memory limit, a worker's share is left to the notebook, which is
    counted against the same limit. Cores are shared out by Dask's own rules.
    """
    from distributed.deploy.utils import nprocesses_nthreads

    if settings.cpu_limit:
        cores = max(1, min(cores, math.ceil(settings.cpu_limit)))
    workers, threads = settings.dask_workers, settings.dask_worker_threads
    if not settings.dask_processes:
        workers = workers or 1
    elif not workers:
        by_dask = nprocesses_nthreads(cores)[0]  # type: ignore[no-untyped-call]
        workers = max(1, cores // threads) if threads else by_dask
    threads = threads or max(1, cores // workers)
    shares = workers
    if settings.memory_limit_bytes and settings.memory_limit_bytes <= memory_bytes:
        memory_bytes = settings.memory_limit_bytes
        shares += settings.dask_processes
    each = settings.dask_worker_memory_bytes or memory_bytes // shares
    return LocalSize(workers, threads, each)


def size_here(settings: Settings) -> LocalSize:
    """Return the size of a local cluster on this machine."""
    from dask.system import cpu_count
    from distributed.system import MEMORY_LIMIT

    return local_size(settings, cores=cpu_count(), memory_bytes=MEMORY_LIMIT)


def cluster(settings: Settings, **options: Any) -> Any:  # noqa: ANN401 - native
    """Start workers on this machine."""
    from distributed import LocalCluster

    return _started(LocalCluster, settings, options)


def client(settings: Settings, **options: Any) -> Any:  # noqa: ANN401 - native
    """Let a client start workers on this machine; closing it closes them."""
    import dask
    from distributed import Client

    # A client without an address starts a LocalCluster of its own, unless Dask's
    # configuration names a scheduler; the settings have already decided that.
    options = {"timeout": settings.timeout_s, **options}
    with dask.config.set({"scheduler-address": None}):
        return _started(Client, settings, options)


def _started(kind: Any, settings: Settings, options: dict[str, Any]) -> Any:  # noqa: ANN401
    size = size_here(settings)
    native: dict[str, Any] = {
        "n_workers": size.workers,
        "threads_per_worker": size.threads,
        "memory_limit": size.memory_bytes,
        "processes": settings.dask_processes,
        "dashboard_address": settings.dask_dashboard or None,
    }
    if not settings.dask_dashboard:
        # Dask still answers health checks: by default on port 8787, if it is free.
        native["scheduler_kwargs"] = {"dashboard_address": "127.0.0.1:0"}
    try:
        return kind(**native | options)
    except (OSError, RuntimeError) as err:
        what, where = (
            "The local Dask cluster did not start.",
            f"{type(err).__name__}: {err}",
        )
        step = (
            "In a script, start it below `if __name__ == '__main__':`, because each "
            "worker process imports the script. Elsewhere, read the lines above, or "
            "try threads: CASA_ENV_DASK_PROCESSES=false."
        )
        raise ClusterError(what, looked_at=where, next_step=step) from err
