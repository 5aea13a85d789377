"""Waiting for workers, and saying why: who runs, who waits for what, who failed how."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from casa_env.batch_jobs import Jobs, jobs_of, log_tail
from casa_env.comparison import mismatch, refusal_text, refusals
from casa_env.errors import ShippingError, WorkersError
from casa_env.queues import Job, read_queue

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["Standing", "wait_for_workers"]

#: How often the scheduler, and a batch system, are asked, in seconds.
POLL_S: Final = 0.2
QUEUE_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """How far the workers are."""

    running: int
    """Workers that the scheduler has."""

    wanted: int
    """Workers that are waited for."""

    jobs: tuple[Job, ...] = ()
    """The batch jobs, where there are any."""

    def line(self) -> str:
        """Return the line of progress.

        Examples
        --------
        >>> waits = Job(number="7", state="pending", reason="Resources")
        >>> Standing(running=1, wanted=2, jobs=(waits,)).line()
        'workers: 1 of 2 running, 1 pending (Resources)'
        """
        parts = [f"workers: {self.running} of {self.wanted} running"]
        started = sum(job.state == "running" for job in self.jobs)
        if started > self.running:
            parts.append(f"{started - self.running} starting")
        for state in ("pending", "failed"):
            reasons = [job.reason for job in self.jobs if job.state == state]
            if reasons:
                why = "; ".join(text for text in Counter(reasons) if text)
                parts.append(f"{len(reasons)} {state}" + (f" ({why})" if why else ""))
        ended = sum(job.state == "ended" for job in self.jobs)
        if ended:
            parts.append(f"{ended} ended")
        return ", ".join(parts)


def wait_for_workers(
    client: Client,
    workers: int = 1,
    *,
    timeout: float = 300.0,
    report: Callable[[str], None] | None = None,
) -> None:
    """Wait until a scheduler has workers; tell what they wait for meanwhile.

    On a laptop and on Binder they are there at once. At a facility
    `casa_env.dask_client` waits like this for the first one.

    Parameters
    ----------
    client
        A client that is not asynchronous.
    workers
        How many to wait for.
    timeout
        How long to wait, in seconds.
    report
        Called with a line whenever there is something new to tell; by default it is
        written to standard error.

    Raises
    ------
    EnvironmentMismatchError
        If a worker refused to start because its environment differs.
    ShippingError
        If a worker refused to start because code that was shipped fails there.
    WorkersError
        If they do not come in time, or cannot come any more: with the queue's reason,
        exit codes and the last lines of their logs.
    """
    report = report or _to_stderr
    began = time.monotonic()
    jobs = jobs_of(client.cluster)
    asked, queue, shown = -QUEUE_S, (), ""  # type: float, tuple[Job, ...], str
    while True:
        running = len(client.scheduler_info(n_workers=-1)["workers"])
        if running >= workers:
            if shown:
                report(Standing(running=running, wanted=workers).line())
            return
        now = time.monotonic() - began
        if now - asked >= QUEUE_S:
            asked = now
            _raise_refusals(client)
            if jobs is not None:
                queue = tuple(read_queue(jobs.backend, jobs.submitted))
            standing = Standing(running=running, wanted=workers, jobs=queue)
            if standing.line() != shown:
                shown = standing.line()
                report(shown)
            hopeless = queue and all(j.state in ("failed", "ended") for j in queue)
            if now > timeout or (hopeless and len(queue) == len(jobs.submitted)):  # type: ignore[union-attr]
                _raise_refusals(client)
                raise _not_come(standing, jobs, now, timeout=timeout)
        time.sleep(POLL_S)


def _raise_refusals(client: Client) -> None:
    """Raise if a worker has refused to start."""
    said = refusals(client)
    different = {
        f"worker {message['name']} on {message['host']}": message["differences"]
        for message in said
        if "differences" in message
    }
    if different:
        raise mismatch(different, total=len(different))
    for message in said:
        what = "Code that was shipped keeps workers from starting."
        step = "Mend it, and ship it again."
        where = refusal_text(message)
        raise ShippingError(what, looked_at=where, next_step=step)


def _not_come(
    standing: Standing, jobs: Jobs | None, waited: float, *, timeout: float
) -> WorkersError:
    """Word the error of workers that have not come."""
    failed = [job for job in standing.jobs if job.state in ("failed", "ended")]
    pending = [job for job in standing.jobs if job.state == "pending"]
    when = f"within {timeout:g} s" if waited > timeout else "and no more will"
    what = f"{standing.running} of {standing.wanted} workers came {when}."
    where = [standing.line()]
    steps = []
    if failed and jobs is not None:
        where += _last_words(failed, jobs)
        steps.append("Read the log's last lines above.")
    if pending:
        steps.append(
            "Ask for less (dask_worker_memory_bytes, dask_worker_threads, "
            "dask_walltime_s), choose another dask_queue, or wait longer: dask_wait_s."
        )
    if not steps:
        steps.append(
            "See whether workers can reach the scheduler (dask_interface), or wait "
            "longer: dask_wait_s."
        )
    return WorkersError(what, looked_at="\n".join(where), next_step=" ".join(steps))


def _last_words(failed: Iterable[Job], jobs: Jobs) -> list[str]:
    """Return the end of the log of the first job that has one."""
    for job in failed:
        log, tail = log_tail(jobs.session, job.number)
        if log is not None:
            return [f"{log}, job {job.number} ({job.reason or job.state}):", tail]
    return [f"no logs in {jobs.session.logs}"]


def _to_stderr(line: str) -> None:
    """Write a line where a notebook, or a terminal, shows it."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
