"""Batch jobs of a session: known by number, and cancelled however the session ends."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from casa_env import reaper
from casa_env.session_folders import Session, scheduler_file

__all__ = ["Jobs", "jobs_of", "keep", "log_tail", "submitted", "tracked"]

_JOBS: Final[WeakKeyDictionary[Any, Jobs]] = WeakKeyDictionary()


class Jobs:
    """The jobs that a cluster has submitted.

    Parameters
    ----------
    session
        Where their logs are.
    backend
        The batch system, one of ``casa_env.options.BACKENDS``.
    cancel
        The command that cancels a job, as `dask_jobqueue` has it.
    """

    def __init__(self, session: Session, *, backend: str, cancel: str) -> None:
        self.session = session
        self.backend = backend
        self.submitted: dict[str, str] = {}
        self.problems: list[str] = []
        command = [sys.executable, "-I", "-S", reaper.__file__, str(session.tls), "--"]
        # A session of its own: neither Ctrl-C nor a hub that ends the kernel's process
        # group takes it along.
        self._reaper = subprocess.Popen(  # noqa: S603 - our own program
            [*command, *shlex.split(cancel)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def begun(self, job: str, name: str) -> None:
        """Note a job that was submitted, and the name of its worker."""
        self.submitted[job] = name
        self._tell(f"+{job}")

    def ended(self, job: str) -> None:
        """Note a job that was cancelled, or has ended."""
        self._tell(f"-{job}")

    def published(self, address: str) -> None:
        """Note the scheduler's address, whose file goes when the session ends."""
        self._tell(f" {scheduler_file(address)}")

    def close(self) -> None:
        """End the session: what is left of it is cleared."""
        stdin = self._reaper.stdin
        if stdin is not None:
            with contextlib.suppress(OSError):
                stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._reaper.wait(reaper.CANCEL_S)

    def _tell(self, line: str) -> None:
        """Write a line to the reaper; where it was killed there is nobody to tell."""
        stdin = self._reaper.stdin
        if stdin is not None and not stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                stdin.write(f"{line}\n".encode())
                stdin.flush()


def tracked(job_class: Any, jobs: Jobs) -> Any:  # noqa: ANN401 - dask_jobqueue is untyped
    """Return a job class of `dask_jobqueue` whose jobs are noted.

    Parameters
    ----------
    job_class
        Such as ``dask_jobqueue.slurm.SLURMJob``.
    jobs
        Where they are noted.
    """
    from distributed.core import Status

    class TrackedJob(job_class):  # type: ignore[misc] # whichever it is
        async def start(self) -> None:
            try:
                await super().start()
            except (OSError, RuntimeError, ValueError) as err:
                # The cluster waits for all its jobs to have ended when it closes.
                self.status = Status.failed
                jobs.problems.append(str(err))
                raise
            jobs.begun(self.job_id, str(self.name))

        async def close(self) -> None:
            # A job that is cancelled while it starts stays in some queues as
            # completing; its worker is told to stop in any case.
            await super().close()
            self.status = Status.closed
            if self.job_id:
                jobs.ended(self.job_id)

    TrackedJob.__name__ = TrackedJob.__qualname__ = job_class.__name__
    return TrackedJob


def keep(cluster: Any, jobs: Jobs) -> None:  # noqa: ANN401 - dask_jobqueue is untyped
    """Tie jobs to their cluster: they end with it, at the latest with the process.

    Parameters
    ----------
    cluster
        The cluster.
    jobs
        What it submits.
    """
    _JOBS[cluster] = jobs
    weakref.finalize(cluster, jobs.close)


def jobs_of(cluster: object) -> Jobs | None:
    """Return the jobs of a cluster, ``None`` where it submits none.

    Parameters
    ----------
    cluster
        Any cluster.
    """
    try:
        return _JOBS.get(cluster)
    except TypeError:  # None, and what else cannot be referred to weakly
        return None


def log_tail(session: Session, job: str, *, lines: int = 8) -> tuple[Path | None, str]:
    """Return the newest log of a job and its last lines.

    Parameters
    ----------
    session
        Where the logs are.
    job
        The job's number.
    lines
        How many lines.
    """
    number = job.split(".", maxsplit=1)[0]
    logs = [log for log in session.logs.glob(f"*{number}*") if log.stat().st_size]
    # Standard error is where Dask logs and Python complains.
    logs.sort(key=lambda log: ("err" in log.name or ".e" in log.name, log.name))
    if not logs:
        return None, ""
    text = logs[-1].read_text(errors="replace").rstrip()
    return logs[-1], "\n".join(text.splitlines()[-lines:])


async def submitted(cluster: Any) -> None:  # noqa: ANN401 - dask_jobqueue is untyped
    """Await that a cluster has submitted the jobs that it was asked for.

    Parameters
    ----------
    cluster
        A cluster that runs.

    Raises
    ------
    OSError, RuntimeError, ValueError
        What `dask_jobqueue` raises where a job is not taken.
    """
    await cluster
