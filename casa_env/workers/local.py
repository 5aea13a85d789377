"""Dask on this machine: how large, and started as a cluster or as a client's own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final, NamedTuple

from casa_env.errors import ClusterError, require_package
from casa_env.settings import Settings
from casa_env.workers.own_page import scheduler_extensions
from casa_env.workers.tls import new_session, session_security

#: Zero would be Dask's configuration again (distributed 2026.8.0, ``Scheduler``).
_YEAR_S: Final = 365 * 86400


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

    cores, memory_bytes = cgroup_limits(
        Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
    )
    return local_size(
        settings,
        cores=math.ceil(min(cpu_count(), cores)),
        memory_bytes=int(min(MEMORY_LIMIT, memory_bytes)),
    )


def cgroup_limits(groups: Path, root: Path) -> tuple[float, float]:
    """Return cores and bytes that a batch job may use, infinite where nothing says so.

    The smallest on the way up counts (cgroups v1 and v2); Dask looks at one level.
    """
    cores = memory = math.inf
    for line in groups.read_text().splitlines() if groups.is_file() else ():
        _, kinds, path = line.split(":", 2)
        here = root / kinds / path.strip("/")
        for folder in (here, *here.parents):
            if not folder.is_relative_to(root):
                break
            for name in ("memory.max", "memory.limit_in_bytes"):
                memory = min(memory, *_numbers(folder / name)[:1], math.inf)
            quota = _numbers(folder / "cpu.max") or (
                _numbers(folder / "cpu.cfs_quota_us")
                + _numbers(folder / "cpu.cfs_period_us")
            )
            if len(quota) == 2 and quota[0] > 0:  # noqa: PLR2004 - quota and period
                cores = min(cores, quota[0] / quota[1])
    return cores, memory


def _numbers(file: Path) -> list[float]:
    try:
        return [float(word) for word in file.read_text().replace("max", "inf").split()]
    except OSError:
        return []


def cluster(settings: Settings, **options: Any) -> Any:  # noqa: ANN401 - native
    """Start workers on this machine."""
    from distributed import LocalCluster

    if not settings.dask_processes or "security" in options:
        return _started(LocalCluster, settings, options)
    # JupyterLab's Dask panel hands its cluster to notebooks by the address only, with
    # which all of this user's processes find the certificate: `load_security`.
    session = new_session(settings)
    try:
        options |= {"security": session_security(session)}
        return session.follow(_started(LocalCluster, settings, options))
    except BaseException:
        session.clear()
        raise


def client(settings: Settings, **options: Any) -> Any:  # noqa: ANN401 - native
    """Let a client start workers on this machine; closing it closes them."""
    import dask
    from distributed import Client

    # A client without an address starts a LocalCluster of its own, unless Dask's
    # configuration names a scheduler; the settings have already decided that.
    options = {"timeout": settings.timeout_s, **options}
    if settings.dask_processes:
        require_package("cryptography", why="A cluster that nobody else can join")
        # A certificate in memory, as no other process has to find it. Not an object of
        # ours: a client does not hand that on to the cluster (distributed 2026.8.0).
        options = {"security": True, **options}
    with dask.config.set({"scheduler-address": None}):
        return _started(Client, settings, options)


def _started(kind: Any, settings: Settings, options: dict[str, Any]) -> Any:  # noqa: ANN401
    from distributed import Nanny, Worker

    size = size_here(settings)
    native: dict[str, Any] = {
        "n_workers": size.workers,
        "threads_per_worker": size.threads,
        "memory_limit": size.memory_bytes,
        "processes": settings.dask_processes,
        "protocol": "tls://" if settings.dask_processes else "inproc://",
        "dashboard_address": settings.dask_dashboard or None,
        # Without an address a worker's page listens on every interface.
        "worker_dashboard_address": "127.0.0.1:0",
        "worker_class": _without_plots(Nanny if settings.dask_processes else Worker),
        # Scheduler and workers sleep together with a laptop: silence is no loss here,
        # and a process that ends closes its connection.
        "scheduler_kwargs": {
            "worker_ttl": _YEAR_S,
            "extensions": scheduler_extensions(),
            **options.pop("scheduler_kwargs", {}),
        },
    }
    if not settings.dask_dashboard:
        # Dask still answers health checks: by default on port 8787, if it is free.
        native["scheduler_kwargs"].setdefault("dashboard_address", "127.0.0.1:0")
    try:
        return kind(**native | options)
    except (OSError, RuntimeError) as err:
        what = "The local Dask cluster did not start."
        where = f"{type(err).__name__}: {err}"
        step = (
            "In a script, start it below `if __name__ == '__main__':`, because each "
            "worker process imports the script. Elsewhere, read the lines above, or "
            "try threads: CASA_ENV_DASK_PROCESSES=false."
        )
        raise ClusterError(what, looked_at=where, next_step=step) from err


def _without_plots(kind: Any) -> Any:  # noqa: ANN401 - a class
    """Return a class of workers whose page has no plots: these take long to import.

    `LocalCluster` asks for them where a page has an address (distributed 2026.8.0).
    """

    class Quiet(kind):  # type: ignore[misc] # whichever it is
        def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            super().__init__(*arguments, **options | {"dashboard": False})

    Quiet.__name__ = Quiet.__qualname__ = kind.__name__
    return Quiet
