"""What a batch system says of jobs: waiting and why, running, or failed and how."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

__all__ = ["Job", "read_queue"]

#: How long a batch system may take to answer, in seconds.
ANSWER_S: Final = 20.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job as its batch system sees it."""

    number: str
    """As it was given when the job was submitted."""

    state: str
    """``pending``, ``running``, ``failed`` or ``ended``."""

    reason: str = ""
    """Why it waits, or how it failed, in the batch system's words."""


def read_queue(backend: str, numbers: Iterable[str]) -> list[Job]:
    """Ask a batch system for jobs; those that it knows no more have ended.

    Parameters
    ----------
    backend
        ``slurm``, ``htcondor``, ``pbs``, ``lsf`` or ``sge``.
    numbers
        The jobs' numbers.

    Returns
    -------
    list of Job
        One for each number; none where the batch system does not answer.
    """
    numbers = list(numbers)
    if not numbers:
        return []
    known = _READERS[backend](numbers)
    if known is None:
        return []
    ended = {number: Job(number=number, state="ended") for number in numbers}
    return list((ended | {n: job for n, job in known.items() if n in ended}).values())


def _said(*command: str) -> str | None:
    """Return what a command prints, ``None`` where it is not there or too slow."""
    try:
        done = subprocess.run(  # noqa: S603 - the batch system's own programs
            command, capture_output=True, text=True, timeout=ANSWER_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout


def _slurm(numbers: list[str]) -> Mapping[str, Job] | None:
    """Ask ``squeue``; Slurm remembers jobs that have ended for some minutes."""
    said = _said(
        *("squeue", "--noheader", "--states=all", "--format=%i|%T|%r"),
        f"--jobs={','.join(numbers)}",
    )
    if said is None:
        return None
    jobs = slurm_jobs(said)
    for number, job in jobs.items():
        if job.state == "failed":
            shown = _said("scontrol", "show", "job", number, "--oneliner") or ""
            code = re.search(r"\bExitCode=(\d+):(\d+)", shown)
            if code:
                signal = f", signal {code[2]}" if code[2] != "0" else ""
                reason = f"{job.reason}, exit code {code[1]}{signal}"
                jobs[number] = replace(job, reason=reason)
    return jobs


def slurm_jobs(said: str) -> dict[str, Job]:
    """Return jobs from the lines of ``squeue --format=%i|%T|%r``."""
    states = {
        **dict.fromkeys(("PENDING", "REQUEUED", "SUSPENDED"), "pending"),
        **dict.fromkeys(("RUNNING", "CONFIGURING"), "running"),
        **dict.fromkeys(("COMPLETED", "CANCELLED", "COMPLETING"), "ended"),
    }
    jobs = {}
    for line in said.splitlines():
        number, state, reason = line.strip().split("|", 2)
        kind = states.get(state, "failed")
        words = f"{state}, {reason}" if kind == "failed" else reason
        jobs[number] = Job(number=number, state=kind, reason=words)
    return jobs


def _htcondor(numbers: list[str]) -> Mapping[str, Job] | None:
    """Ask ``condor_q``, and ``condor_history`` for what has left the queue."""
    fields = ("-af", "ClusterId", "ProcId", "JobStatus", "ExitCode", "HoldReason")
    said = _said("condor_q", *numbers, *fields)
    if said is None:
        return None
    jobs = htcondor_jobs(said)
    for number in numbers:
        if number not in jobs:
            shown = _said("condor_history", number, "-limit", "1", *fields) or ""
            jobs |= htcondor_jobs(shown)
    return jobs


def htcondor_jobs(said: str) -> dict[str, Job]:
    """Return jobs from what ``condor_q -af`` prints of five fields.

    The states are HTCondor's job status codes: 1 idle, 2 running, 3 removed,
    4 completed, 5 held, 6 transferring output, 7 suspended.
    """
    states = {"1": "pending", "2": "running", "3": "ended", "4": "ended"}
    states |= {"5": "failed", "6": "running", "7": "pending"}
    jobs = {}
    for line in said.splitlines():
        if len(line.split()) < 5:  # noqa: PLR2004 - of five fields; the last may be long
            continue
        cluster, process, status, code, hold = line.split(None, 4)
        state, reason = states.get(status, "pending"), ""
        if status == "1":
            reason = "idle: no machine has taken it"
        elif status == "5":
            reason = f"held: {hold}"
        elif status == "4" and code not in ("0", "undefined"):
            state, reason = "failed", f"exit code {code}"
        number = f"{cluster}.{process}"
        jobs[number] = Job(number=number, state=state, reason=reason)
    return jobs


def _pbs(numbers: list[str]) -> Mapping[str, Job] | None:
    """Ask ``qstat``, which writes JSON since PBS Professional 18."""
    said = _said("qstat", "-x", "-f", "-F", "json", *numbers)
    return None if said is None else pbs_jobs(said)


def pbs_jobs(said: str) -> dict[str, Job]:
    """Return jobs from the JSON of ``qstat -x -f -F json``."""
    states = {"R": "running", "B": "running", "F": "ended", "E": "running"}
    try:
        found = json.loads(said).get("Jobs", {})
    except ValueError:
        return {}
    jobs = {}
    for name, about in found.items():
        state = states.get(about.get("job_state", "Q"), "pending")
        reason, code = about.get("comment", ""), about.get("Exit_status", 0)
        if state == "ended" and code:
            state, reason = "failed", f"exit code {code}"
        number = name.split(".", maxsplit=1)[0]
        jobs[number] = Job(number=number, state=state, reason=reason)
    return jobs


def _lsf(numbers: list[str]) -> Mapping[str, Job] | None:
    """Ask ``bjobs``."""
    fields = "jobid stat exit_code pend_reason delimiter='|'"
    said = _said("bjobs", "-noheader", "-o", fields, *numbers)
    return None if said is None else lsf_jobs(said)


def lsf_jobs(said: str) -> dict[str, Job]:
    """Return jobs from what ``bjobs -o`` prints of four fields."""
    states = {"RUN": "running", "DONE": "ended", "EXIT": "failed"}
    jobs = {}
    for line in said.splitlines():
        number, stat, code, why = (part.strip() for part in line.split("|", 3))
        state = states.get(stat, "pending")
        reason = f"exit code {code}" if state == "failed" else why.strip("-")
        jobs[number] = Job(number=number, state=state, reason=reason)
    return jobs


def _sge(numbers: list[str]) -> Mapping[str, Job] | None:
    """Ask ``qstat``, whose plain list is the same in all Grid Engines."""
    del numbers  # it lists all of the user's
    said = _said("qstat")
    return None if said is None else sge_jobs(said)


def sge_jobs(said: str) -> dict[str, Job]:
    """Return jobs from the list that ``qstat`` prints."""
    jobs = {}
    for line in said.splitlines():
        words = line.split()
        if len(words) > 4 and words[0].isdigit():  # noqa: PLR2004 - the state is fifth
            state, reason = "pending", words[4]
            if "E" in words[4]:
                state = "failed"
            elif words[4] in ("r", "t"):
                state, reason = "running", ""
            jobs[words[0]] = Job(number=words[0], state=state, reason=reason)
    return jobs


_READERS: Final[Mapping[str, Callable[[list[str]], Mapping[str, Job] | None]]] = {
    "slurm": _slurm,
    "htcondor": _htcondor,
    "pbs": _pbs,
    "lsf": _lsf,
    "sge": _sge,
}
