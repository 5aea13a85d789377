"""Dask workers as jobs of a batch system, with the cluster classes of dask_jobqueue.

Jobs end with their cluster. Where the notebook dies without closing it, workers that
run end as they lose the scheduler, and those that start later once they have looked
for it for ``jobqueue.*.death-timeout`` of Dask's configuration, by default a minute.
"""

from __future__ import annotations

import shlex
import shutil
import signal
import socket
import sys
import threading
from typing import Any, Final

from casa_env.errors import ClusterError, require_package
from casa_env.network import host_and_port, is_loopback
from casa_env.settings import Settings
from casa_env.workers.own_page import scheduler_extensions
from casa_env.workers.tls import Session, cluster_security, new_session

#: By back end: the class in `dask_jobqueue`, and the program that submits.
_SYSTEMS: Final = {
    "slurm": ("SLURMCluster", "sbatch"),
    "htcondor": ("HTCondorCluster", "condor_submit"),
    "pbs": ("PBSCluster", "qsub"),
    "lsf": ("LSFCluster", "bsub"),
    "sge": ("SGECluster", "qsub"),
}

#: By back end: the line that tells a job's number, among whatever a site adds to it.
#: HTCondor's is dask_jobqueue's own, whose others take the first digits there are.
_ANSWERS: Final = {
    "slurm": r"(?m)^Submitted batch job (?P<job_id>\d+)",
    "pbs": r"(?m)^(?P<job_id>\d+)(\.\S+)?\s*$",
    "lsf": r"(?m)^Job <(?P<job_id>\d+)> is submitted",
    "sge": r"(?m)^(Your job )?(?P<job_id>\d+)( \(.*)?\s*$",
}

#: What a job's worker gets where dask_worker_memory_bytes says nothing.
MEMORY_BYTES: Final = 2 * 10**9

#: A worker's page would show its tasks to the whole network.
_QUIET: Final = ("--no-dashboard", "--dashboard-address", "127.0.0.1:0")

#: What a batch system, or dask_jobqueue, raises.
_PROBLEMS: Final = (OSError, RuntimeError, ValueError)


def cluster(settings: Settings, *, asynchronous: bool = False, **options: Any) -> Any:  # noqa: ANN401 - untyped
    """Start a scheduler here, and submit a job for each worker."""
    backend = settings.dask_backend
    name, program = _SYSTEMS[backend]
    require_package("dask-jobqueue", why="A batch system")
    if shutil.which(program) is None:
        what = f"There is no {program} here, so that no worker can be submitted."
        where = f"PATH; dask_backend is {settings.where('dask_backend')}"
        step = "Start the notebook where the batch system's programs are, or choose "
        step += "another back end: CASA_ENV_DASK_BACKEND=local."
        raise ClusterError(what, looked_at=where, next_step=step)
    kind = getattr(dask_jobqueue(), name)
    special = _htcondor_options if backend == "htcondor" else queue_options
    native = special(settings)
    session = new_session(settings)
    started, what = None, f"The scheduler for {backend} did not start."
    try:
        native |= _common_options(settings, session)
        native["scheduler_options"] |= options.pop("scheduler_options", {})
        native["job_cls"] = _recorded(kind.job_cls, session)
        started = kind(asynchronous=asynchronous, **native | options)
        what = f"{backend} did not take a worker's job."
        _submit(started, settings, session)
    except BaseException as err:
        if started is not None:
            started.close()
        session.clear()
        if not isinstance(err, _PROBLEMS):
            raise
        step = "Correct dask_queue, dask_account, dask_walltime_s, dask_interface, "
        step += "dask_job_directives or the options given; the lines above say more."
        raise ClusterError(what, looked_at=str(err).strip(), next_step=step) from err
    return started


def dask_jobqueue() -> Any:  # noqa: ANN401 - a module
    """Import dask_jobqueue, and leave Ctrl-C to the cell that runs."""
    # Its import (0.9.0, ``runner.py``) lets Ctrl-C end the process, which in a notebook
    # is the kernel, instead of the cell. This can go when it does so no more.
    before = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    return dask_jobqueue


def _common_options(settings: Settings, session: Session) -> dict[str, Any]:
    import dask

    site = dask.config.get(f"jobqueue.{settings.dask_backend}.worker-extra-args")
    return {
        "name": session.path.name,
        "worker_extra_args": [*_QUIET, *(site or ())],
        "job_name": session.path.name,
        "cores": settings.dask_worker_threads or 1,
        "processes": 1,
        "memory": f"{settings.dask_worker_memory_bytes or MEMORY_BYTES}B",
        "python": shlex.quote(str(settings.dask_worker_python or sys.executable)),
        "log_directory": str(session.logs),
        "security": cluster_security(settings, session),
        "protocol": "tls://",
        "interface": settings.dask_interface or None,
        "scheduler_options": {
            "dashboard_address": settings.dask_dashboard or "127.0.0.1:0",
            "dashboard": bool(settings.dask_dashboard),
            "extensions": scheduler_extensions(),
        },
    }


def queue_options(settings: Settings) -> dict[str, Any]:
    """Return queue, account, time and more lines of a job's header."""
    lsf = settings.dask_backend == "lsf"  # whose times have no seconds
    minutes, seconds = divmod(round(settings.dask_walltime_s) + 59 * lsf, 60)
    time = f"{minutes // 60:02d}:{minutes % 60:02d}"
    account = "account" if settings.dask_backend in ("slurm", "pbs") else "project"
    return {
        "queue": settings.dask_queue or None,
        account: settings.dask_account or None,
        "walltime": time if lsf else f"{time}:{seconds:02d}",
        "job_extra_directives": list(settings.dask_job_directives),
    }


def _htcondor_options(settings: Settings) -> dict[str, Any]:
    """Return the same for HTCondor, where a header line is ``name = value``."""
    if settings.dask_queue:
        what, where = "HTCondor has no queues to choose from.", "dask_queue"
        step = "Leave dask_queue empty; some sites have a line for it, such as "
        step += "dask_job_directives = ['+JobFlavour = \"longlunch\"']."
        raise ClusterError(what, looked_at=settings.where(where), next_step=step)
    # Its manual: a job that runs longer than this is put on hold.
    lines = {"allowed_job_duration": str(round(settings.dask_walltime_s))}
    if settings.dask_account:
        lines["accounting_group"] = settings.dask_account
    for line in settings.dask_job_directives:
        name, equals, value = line.partition("=")
        if not equals:
            what = f"This is no line of an HTCondor job: {line!r}."
            where = settings.origin("dask_job_directives")
            step = "Write dask_job_directives as ['name = value', ...]."
            raise ClusterError(what, looked_at=where, next_step=step)
        lines[name.strip()] = value.strip()
    disk = f"{settings.dask_worker_disk_bytes}B"
    return {"disk": disk, "job_extra_directives": lines}


def _recorded(job_class: Any, session: Session) -> Any:  # noqa: ANN401 - untyped
    """Return a job class whose jobs are recorded, and end for clusters that wait."""
    from distributed.core import Status

    class Job(job_class):  # type: ignore[misc] # whichever it is
        job_id_regexp = _ANSWERS.get(session.backend, job_class.job_id_regexp)

        async def start(self) -> None:
            try:
                await super().start()
            except _PROBLEMS:
                self.status = Status.failed
                raise
            session.jobs.append(self.job_id)

        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

    Job.__name__ = Job.__qualname__ = job_class.__name__
    return Job


def _submit(cluster: Any, settings: Settings, session: Session) -> None:  # noqa: ANN401
    """Submit the first jobs, or let awaiting the cluster do so; clear as it closes."""
    least = settings.dask_workers or 1

    def begin() -> None:
        chosen = cluster.scheduler_spec["options"]
        host = host_and_port(cluster.scheduler_address) or ("",)
        if is_loopback(host[0]) and not (chosen.get("host") or chosen.get("interface")):
            what = f"Workers would look for the scheduler on themselves, at {host[0]}."
            where = ", ".join(name for _, name in socket.if_nameindex())
            step = "Set dask_interface to one that they reach; lo, if they run here."
            raise ClusterError(what, looked_at=f"interfaces: {where}", next_step=step)
        while len(cluster.worker_spec) < least:
            cluster.worker_spec.update(cluster.new_worker_spec())
        if settings.dask_max_workers:
            cluster.adapt(minimum=least, maximum=settings.dask_max_workers)

    cluster.casa_env_session = session
    session.follow(cluster, begin)
