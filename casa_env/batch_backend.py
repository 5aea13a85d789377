"""Dask workers as jobs of a batch system, with the cluster classes of dask_jobqueue."""

from __future__ import annotations

import inspect
import logging
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from casa_env.batch_jobs import Jobs, jobs_of, keep, submitted, tracked
from casa_env.errors import ClusterError, MissingPackageError
from casa_env.ownership import own
from casa_env.session_folders import Session, new_session
from casa_env.settings import Settings
from casa_env.tls import cluster_security, publish

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["client", "cluster"]

logger = logging.getLogger(__name__)

#: Memory of a worker where the settings leave it open, in bytes.
MEMORY_BYTES: Final = 2 * 10**9


@dataclass(frozen=True, kw_only=True)
class _System:
    """How a batch system is spoken to."""

    cluster: str
    """The class in `dask_jobqueue`."""

    submit: str
    """The program that submits."""

    options: Callable[[Settings], dict[str, Any]]
    """Queue, account, time and more lines, in that class's words."""


def _clock(seconds: float) -> str:
    """Return a duration as ``HH:MM:SS``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def _with_account(settings: Settings) -> dict[str, Any]:
    """Return the options of Slurm and PBS."""
    return {
        "queue": settings.dask_queue or None,
        "account": settings.dask_account or None,
        "walltime": _clock(settings.dask_walltime_s),
        "job_extra_directives": list(settings.dask_job_directives),
    }


def _with_project(settings: Settings) -> dict[str, Any]:
    """Return the options of SGE."""
    options = _with_account(settings)
    return options | {"project": options.pop("account")}


def _lsf(settings: Settings) -> dict[str, Any]:
    """Return the options of LSF, whose times have no seconds."""
    return _with_project(settings) | {
        "walltime": _clock(settings.dask_walltime_s + 59)[:-3]
    }


def _htcondor(settings: Settings) -> dict[str, Any]:
    """Return the options of HTCondor, where a header line is ``name = value``."""
    if settings.dask_queue:
        what = "HTCondor has no queues to choose from."
        raise ClusterError(
            what,
            looked_at=f"dask_queue, from {settings.origin('dask_queue')}",
            next_step="Leave dask_queue empty; some sites have a line for it, such as "
            "dask_job_directives = ['+JobFlavour = \"longlunch\"'].",
        )
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


_SYSTEMS: Final[Mapping[str, _System]] = {
    "slurm": _System(cluster="SLURMCluster", submit="sbatch", options=_with_account),
    "htcondor": _System(
        cluster="HTCondorCluster", submit="condor_submit", options=_htcondor
    ),
    "pbs": _System(cluster="PBSCluster", submit="qsub", options=_with_account),
    "lsf": _System(cluster="LSFCluster", submit="bsub", options=_lsf),
    "sge": _System(cluster="SGECluster", submit="qsub", options=_with_project),
}


def cluster(settings: Settings, *, asynchronous: bool = False, **options: Any) -> Any:  # noqa: ANN401 - untyped
    """Start a scheduler here, and submit a job for each worker.

    Parameters
    ----------
    settings
        Which batch system, and what its jobs are to be.
    asynchronous
        ``True``: the cluster starts when it is awaited.
    **options
        Options of the class in `dask_jobqueue`; they win.

    Returns
    -------
    dask_jobqueue.JobQueueCluster
        The cluster of that batch system; ``cluster.job_script()`` shows what a job is.

    Raises
    ------
    ClusterError
        If the batch system is not here, or does not take a job.
    MissingPackageError
        If `dask_jobqueue` is not installed.
    """
    _require_system(settings)
    kind = getattr(_dask_jobqueue(), _SYSTEMS[settings.dask_backend].cluster)
    of_system = _SYSTEMS[settings.dask_backend].options(settings)
    session = new_session(settings)
    native = _native_options(settings, session) | of_system
    cancel = kind.job_cls.cancel_command
    jobs = Jobs(session, backend=settings.dask_backend, cancel=cancel)
    native["job_cls"] = tracked(kind.job_cls, jobs)
    try:
        started = kind(asynchronous=asynchronous, **native | options)
    except (OSError, RuntimeError, ValueError) as err:
        jobs.close()
        what = f"The scheduler for {settings.dask_backend} did not start: {err}"
        step = "Look at dask_interface, dask_dashboard and the options given."
        raise ClusterError(what, next_step=step) from err
    except BaseException:
        jobs.close()
        raise
    keep(started, jobs)
    _ask_for_workers(started, settings, jobs)
    logger.info("%s at %s", type(started).__name__, session.path)
    return started


def client(settings: Settings, **options: Any) -> Client:  # noqa: ANN401 - native
    """Start a cluster and a client that owns it; closing the client closes both.

    Parameters
    ----------
    settings
        As for `cluster`.
    **options
        Options of `distributed.Client`, and others of the cluster; they win.

    Raises
    ------
    ClusterError
        As for `cluster`.
    """
    from distributed import Client

    names = inspect.signature(Client).parameters
    mine = {name: value for name, value in options.items() if name in names}
    rest = {name: value for name, value in options.items() if name not in names}
    asynchronous = mine.get("asynchronous", False)
    started = cluster(settings, asynchronous=asynchronous, **rest)
    jobs = jobs_of(started)
    defaults = {"timeout": settings.timeout_s}
    try:
        connected = Client(started, **defaults | mine)  # type: ignore[no-untyped-call]
        return own(connected, started, after=jobs.close if jobs else None)
    except BaseException:
        if not asynchronous:
            started.close()
        raise


def _dask_jobqueue() -> Any:  # noqa: ANN401 - a module
    """Import `dask_jobqueue`, and leave Ctrl-C what it was.

    Its import (0.9.0, ``runner.py``) lets SIGINT end the process, which in a notebook
    is the kernel, instead of the cell. This can go when it does so no more.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)
    return dask_jobqueue


def _require_system(settings: Settings) -> None:
    """Raise unless the batch system's program and the package are here."""
    if find_spec("dask_jobqueue") is None:
        what = "Batch systems need the package dask-jobqueue."
        step = "python -m pip install dask-jobqueue"
        raise MissingPackageError(what, looked_at=sys.prefix, next_step=step)
    program = _SYSTEMS[settings.dask_backend].submit
    if shutil.which(program) is None:
        what = f"There is no {program} here, so that no worker can be submitted."
        raise ClusterError(
            what,
            looked_at=f"PATH; dask_backend is {settings.dask_backend!r}, "
            f"from {settings.origin('dask_backend')}",
            next_step="Start the notebook where the batch system's programs are, or "
            "choose another back end: CASA_ENV_DASK_BACKEND=local.",
        )


def _native_options(settings: Settings, session: Session) -> dict[str, Any]:
    """Return the options that all classes of `dask_jobqueue` have."""
    python = settings.dask_worker_python or sys.executable
    return {
        "name": session.name,
        "job_name": session.name,
        "cores": settings.dask_worker_threads or 1,
        "processes": 1,
        "memory": f"{settings.dask_worker_memory_bytes or MEMORY_BYTES}B",
        "python": str(python),
        "log_directory": str(session.logs),
        "security": cluster_security(settings, session),
        "protocol": "tls://",
        "interface": settings.dask_interface or None,
        "scheduler_options": {
            "dashboard_address": settings.dask_dashboard or "127.0.0.1:0",
            "dashboard": bool(settings.dask_dashboard),
        },
    }


def _ask_for_workers(started: Any, settings: Settings, jobs: Jobs) -> None:  # noqa: ANN401
    """Submit the first jobs, and let their number follow the work if that is wanted."""
    least = settings.dask_workers or 1
    for _ in range(least):
        started.worker_spec.update(started.new_worker_spec())
    start = started._start  # noqa: SLF001 - what awaiting it runs first

    def begun() -> None:
        publish(started.scheduler_address, jobs.session)
        jobs.published(started.scheduler_address)
        if settings.dask_max_workers:
            started.adapt(minimum=least, maximum=settings.dask_max_workers)

    async def start_and_publish() -> None:
        await start()
        begun()

    if started.asynchronous:
        started._start = start_and_publish  # noqa: SLF001
        return
    try:
        started.sync(submitted, started)
        begun()
    except (OSError, RuntimeError, ValueError) as err:
        started.close()
        jobs.close()
        what = f"{settings.dask_backend} did not take a worker's job."
        step = "Correct dask_queue, dask_account, dask_walltime_s or "
        step += "dask_job_directives; the lines above are what it said."
        raise ClusterError(what, looked_at=str(err).strip(), next_step=step) from err
    except BaseException:
        started.close()
        jobs.close()
        raise
