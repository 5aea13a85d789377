"""Workers of Parsl, from the settings that start those of Dask."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from casa_env.errors import ClusterError, require_package
from casa_env.settings import Settings, load_settings
from casa_env.workers.batch import MEMORY_BYTES, queue_options
from casa_env.workers.local import size_here
from casa_env.workers.tls import new_session

#: Runs Parsl's interchange, which would outlive a kernel that is killed (2026.10.26).
_INTERCHANGE = """
import os, runpy, sys, threading, time
parent = os.getppid()
def watch():
    while os.getppid() == parent: time.sleep(1)
    os._exit(1)
threading.Thread(target=watch, daemon=True).start()
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def parsl_config(settings: Settings | None = None, **options: Any) -> Any:  # noqa: ANN401 - native
    """Return a `parsl.Config` for ``parsl.load``, or for coffea's ``ParslExecutor``.

    On a laptop and on Binder its workers are processes of this machine, as many as
    Dask's threads, without a limit on memory; at a facility whose ``dask_backend`` is
    ``"slurm"``, jobs with the queue, account, time, memory and directives of Dask's.
    What is between processes is encrypted. Parsl ends its workers as the kernel ends;
    where it is killed they end after ``jobqueue.*.death-timeout``, as Dask's do.

    Parameters
    ----------
    settings
        By default those of `load_settings`.
    options
        More of ``parsl.Config``, or instead.

    Raises
    ------
    ClusterError
        The back end is another one, or Slurm's jobs have no ``dask_interface``.
    MissingPackageError
        Parsl is not installed.
    """
    require_package("parsl", why="Parsl")
    import dask
    import parsl
    from parsl.executors.high_throughput import executor

    settings = settings or load_settings()
    providers = {"local": _local, "slurm": _slurm}
    if settings.dask_backend not in providers:
        what = f"There is no configuration of Parsl for {settings.dask_backend}."
        step = (
            "Choose dask_backend local or slurm, or write a parsl.Config of your own."
        )
        where = settings.where("dask_backend")
        raise ClusterError(what, looked_at=where, next_step=step)
    workers, address, provider = providers[settings.dask_backend](settings)
    # The programs are looked for on PATH, where a kernel's own may not be.
    programs = Path(sys.executable).parent
    pool = "process_worker_pool.py"
    command = executor.DEFAULT_LAUNCH_CMD.replace(
        pool, shlex.quote(str(programs / pool))
    )
    interchange = [sys.executable, "-P", "-c", _INTERCHANGE]
    key = f"jobqueue.{settings.dask_backend}.death-timeout"
    alone_s = round(dask.utils.parse_timedelta(dask.config.get(key, 0) or 60))
    pool_of_workers = executor.HighThroughputExecutor(
        label=settings.dask_backend,
        provider=provider,
        launch_cmd=command,
        interchange_launch_cmd=[*interchange, str(programs / "interchange.py")],
        heartbeat_period=max(1, alone_s // 12),  # until a dead worker is noticed
        heartbeat_threshold=alone_s,
        address=address,
        max_workers_per_node=workers,
        cores_per_worker=1e-6,  # so many, whatever the machine has
        encrypted=True,
    )
    folder = new_session(settings).path / "tls"  # which goes if this process dies
    chosen: dict[str, Any] = {
        "executors": [pool_of_workers],
        "run_dir": str(folder),
        "strategy": "none",
        "retries": 3,  # so that a worker that dies costs time only
    }
    # Its log would stay open (parsl 2026.10.26); the pool's own are in that folder.
    chosen |= {"usage_tracking": 0, "initialize_logging": False}
    return parsl.Config(**chosen | options)


def _local(settings: Settings) -> tuple[int, str, Any]:
    """Return workers of a job, the address they call, and what starts jobs."""
    from parsl.providers import LocalProvider

    size = size_here(settings)
    native: Any = LocalProvider  # its types are not complete
    provider = native(init_blocks=1, max_blocks=1, worker_init=_exported())
    return size.workers * size.threads, "127.0.0.1", provider


def _slurm(settings: Settings) -> tuple[int, str, Any]:
    from distributed.utils import get_ip_interface
    from parsl.launchers import SimpleLauncher
    from parsl.providers import SlurmProvider

    if not settings.dask_interface:
        what = "Workers of Parsl have to be told an address."
        step = "Set dask_interface to one that they reach; lo, if they run here."
        where = settings.where("dask_interface")
        raise ClusterError(what, looked_at=where, next_step=step)
    threads, jobs = settings.dask_worker_threads or 1, settings.dask_workers or 1
    memory_bytes = settings.dask_worker_memory_bytes or MEMORY_BYTES
    queue = queue_options(settings)
    provider = SlurmProvider(
        partition=queue["queue"],
        account=queue["account"],
        walltime=queue["walltime"],
        cores_per_node=threads,
        mem_per_node=max(1, round(memory_bytes / 1e9)),
        init_blocks=jobs,
        max_blocks=jobs,
        scheduler_options="\n".join(
            f"#SBATCH {line}" for line in queue["job_extra_directives"]
        ),
        worker_init=_exported(),
        exclusive=False,
        launcher=SimpleLauncher(),
    )
    address = get_ip_interface(settings.dask_interface)  # type: ignore[no-untyped-call]
    return threads, address, provider


def _exported() -> str:
    """Return the lines of a job's script by which it imports what is imported here."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    found = {"PATH": path, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return "\n".join(f"export {k}={shlex.quote(v)}" for k, v in found.items())
