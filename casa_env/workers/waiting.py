"""Waiting for workers, and why they do not come: what the batch system tells."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from casa_env.errors import ClusterError
from casa_env.workers.sameness import raise_refusals
from casa_env.workers.tls import Session

if TYPE_CHECKING:
    from distributed import Client

#: Squeue's words, and condor_q's codes (5, held, is a failure); others are failures.
_STATES: Final = {
    **dict.fromkeys(("PENDING", "REQUEUED", "SUSPENDED", "1", "7"), "pending"),
    **dict.fromkeys(("RUNNING", "CONFIGURING", "2", "6"), "running"),
    **dict.fromkeys(("COMPLETED", "CANCELLED", "COMPLETING", "3", "4"), "ended"),
}

#: How long a batch system may not know yet of a job that it has taken, in seconds.
_UNKNOWN_S: Final = 10.0


class Job(NamedTuple):
    """A job: its state is ``pending``, ``running``, ``failed`` or ``ended``."""

    number: str
    state: str
    reason: str = ""


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
        Called with each line of progress; by default it goes to standard error.

    Raises
    ------
    ClusterError
        Of kind ``workers``: they do not come in time, or cannot come any more: with the
        queue's reason, exit codes and the last lines of a log. Of kind ``shipping``:
        code that was shipped keeps them from starting.
    EnvironmentMismatchError
        If a worker refused to start because its environment differs.
    """
    report = report or (lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    session: Session | None = getattr(client.cluster, "casa_env_session", None)
    began, asked, shown, jobs = time.monotonic(), -1.0, "", list[Job]()
    while True:
        running = len(client.scheduler_info(n_workers=-1)["workers"])
        waited = time.monotonic() - began
        enough = running >= workers
        if waited - asked >= 1 and not enough:  # batch systems are not asked more often
            asked = waited
            raise_refusals(client)
            unknown = "pending" if waited < _UNKNOWN_S else "ended"
            if session:
                jobs = read_queue(session.backend, session.jobs, unknown=unknown)
        line = _progress(running, workers, jobs)
        if line != shown and (shown or not enough):
            report(line)
            shown = line
        if enough:
            return
        hopeless = jobs and all(job.state in ("failed", "ended") for job in jobs)
        if waited > timeout or hopeless:
            raise_refusals(client)
            when = f"within {timeout:g} s" if waited > timeout else "and no more will"
            what = f"{running} of {workers} workers came {when}."
            raise _not_come(what, line, jobs, session)
        time.sleep(0.2)


def _progress(running: int, wanted: int, jobs: list[Job]) -> str:
    parts = [f"workers: {running} of {wanted} running"]
    states = Counter(job.state for job in jobs)
    if states["running"] > running:
        parts.append(f"{states['running'] - running} starting")
    for state in ("pending", "failed", "ended"):
        reasons = dict.fromkeys(job.reason for job in jobs if job.state == state)
        why = "; ".join(filter(None, reasons)) if state != "ended" else ""
        if states[state]:
            parts.append(f"{states[state]} {state}" + (f" ({why})" if why else ""))
    return ", ".join(parts)


def read_queue(
    backend: str, numbers: Iterable[str], *, unknown: str = "ended"
) -> list[Job]:
    """Ask Slurm or HTCondor for jobs; those that it does not know any more have ended.

    There are none of another batch system, and where it does not answer.
    """
    readers = {"slurm": _slurm, "htcondor": _htcondor}
    numbers = list(numbers)
    found = readers[backend](numbers) if numbers and backend in readers else None
    return [] if found is None else [found.get(n, Job(n, unknown)) for n in numbers]


def _slurm(numbers: list[str]) -> dict[str, Job] | None:
    # Slurm remembers jobs that have ended for some minutes.
    command = "squeue", "--noheader", "--states=all", "--format=%i|%T|%r"
    text = _answer(*command, f"--jobs={','.join(numbers)}")
    jobs = {}
    for line in (text or "").splitlines():
        number, word, reason = line.strip().split("|", 2)
        state = _STATES.get(word, "failed")
        if state == "failed":
            shown = _answer("scontrol", "show", "job", number, "--oneliner") or ""
            code = re.search(r"\bExitCode=(\d+):(\d+)", shown)
            reason = f"{word}, {reason}" + (f", exit code {code[1]}" if code else "")
            reason += f", signal {code[2]}" if code and code[2] != "0" else ""
        jobs[number] = Job(number, state, reason)
    return None if text is None else jobs


def _htcondor(numbers: list[str]) -> dict[str, Job] | None:
    fields = "-af", "ClusterId", "ProcId", "JobStatus", "ExitCode", "HoldReason"
    text = _answer("condor_q", *numbers, *fields)
    if text is None:
        return None
    there = {".".join(line.split()[:2]) for line in text.splitlines()}
    if gone := [number for number in numbers if number not in there]:
        limit = "-limit", str(len(gone))
        text += _answer("condor_history", *gone, *limit, *fields) or ""
    jobs = {}
    for line in text.splitlines():
        cluster, process, status, code, hold = [*line.split(None, 4), *[""] * 5][:5]
        state, reason = _STATES.get(status, "failed"), ""
        if status == "1":
            reason = "idle: no machine has taken it"
        elif status == "5":
            reason = f"held: {hold}"
        elif status == "4" and code not in ("0", "undefined"):
            state, reason = "failed", f"exit code {code}"
        number = f"{cluster}.{process}"
        jobs[number] = Job(number, state, reason)
    return jobs


def _answer(*command: str) -> str | None:
    """Return what a command prints, ``None`` where it is not there or too slow."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace")


def _not_come(
    what: str, line: str, jobs: list[Job], session: Session | None
) -> ClusterError:
    where, steps = [line], []
    if session and not jobs:  # another batch system is shown in its own words
        program = "bjobs" if session.backend == "lsf" else "qstat"
        where.append(_answer(program, *session.jobs) or f"{program} does not answer")
    failed = [job for job in jobs if job.state in ("failed", "ended")]
    if session and failed:
        where += _log(failed, session)
        steps.append("Read the log's last lines above.")
    if len(failed) < len(jobs):
        steps.append(
            "Ask for less (dask_worker_memory_bytes, dask_worker_threads, "
            "dask_walltime_s), choose another dask_queue, or wait longer: dask_wait_s."
        )
    step = "See whether workers can reach the scheduler (dask_interface), or wait "
    step = " ".join(steps) or f"{step}longer: dask_wait_s."
    looked_at = "\n".join(where)
    return ClusterError(what, looked_at=looked_at, next_step=step, kind="workers")


def _log(jobs: list[Job], session: Session) -> list[str]:
    """Return the end of the log of the first job that has one."""
    for job in jobs:
        number = job.number.split(".", maxsplit=1)[0]
        logs = [log for log in session.logs.glob(f"*{number}*") if log.stat().st_size]
        # Standard error is where Dask logs and Python complains.
        logs.sort(key=lambda log: ("err" in log.name or ".e" in log.name, log.name))
        if logs:
            why = job.reason or job.state
            lines = logs[-1].read_text(errors="replace").splitlines()[-8:]
            return [f"{logs[-1]}, job {job.number} ({why}):", *lines]
    return [f"no logs in {session.logs}"]
