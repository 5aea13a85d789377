"""Timing on one core: actions take turns, so that noise hits all alike.

What is compared is time *on the core*: what the process and its threads computed. The
inputs stay in memory, so on a quiet machine it is the time on the clock; on a shared
one it leaves out what others computed meanwhile. Both are kept, and tables show how far
they are apart.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

REPEATS = 5
#: Runs that one measurement of several processes lasts: one alone is too short.
RUNS_AT_A_TIME = 4

#: One thread wherever a library would take more.
SINGLE_THREAD = dict.fromkeys(
    (
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "OMP_NUM_THREADS",
        "OMP_THREAD_LIMIT",
        "OPENBLAS_NUM_THREADS",
    ),
    "1",
)

#: The cores that programs may use here, before this one is kept to one of them.
CORES = sorted(getattr(os, "sched_getaffinity", lambda _: {0, 1})(os.getpid()))


class Seconds(NamedTuple):
    """How long something took."""

    core: float
    """On the core."""
    wall: float
    """On the clock."""


def on_one_core() -> None:
    """Keep this process on one core and its libraries to one thread.

    The libraries read their variables when they are loaded: call it first.
    """
    os.environ.update(SINGLE_THREAD)
    pin(CORES[-1])


def pin(core: int) -> None:
    """Keep this process on one core, where the operating system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def timed(action: Callable[[], object]) -> Seconds:
    """Return how long an action takes."""
    gc.collect()
    wall, core = time.perf_counter(), time.process_time()
    action()
    return Seconds(time.process_time() - core, time.perf_counter() - wall)


def median(measured: Sequence[Seconds]) -> Seconds:
    """Return the median of each kind of time."""
    return Seconds(*(statistics.median(kind) for kind in zip(*measured, strict=True)))


def medians(
    actions: Mapping[str, Callable[[], object]], repeats: int = REPEATS
) -> dict[str, Seconds]:
    """Return each action's median: A B C A B C ..., after one round that is dropped."""
    rounds = [
        {name: timed(action) for name, action in actions.items()}
        for _ in range(repeats + 1)
    ]
    return {name: median([one[name] for one in rounds[1:]]) for name in actions}


class Worker:
    """A process of its own that runs the analysis when it is told to."""

    def __init__(self, core: int, environ: Mapping[str, str]) -> None:
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", str(core)],
            env={**os.environ, **SINGLE_THREAD, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, sample: str, path: str, times: int) -> None:
        """Start running the analysis over a file, so many times."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([sample, path, times]) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the last run; return its ``seconds`` and the ``peak_bytes``."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            msg = f"a benchmark process ended with {self.process.wait()}"
            raise RuntimeError(msg)
        return json.loads(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def together(workers: Sequence[Worker], jobs: Sequence[tuple[str, str]]) -> Seconds:
    """Return how long the slowest of several workers takes, all at the same time."""
    for worker, job in zip(workers, jobs, strict=True):
        worker.tell(*job, times=RUNS_AT_A_TIME)
    took = [Seconds(*worker.answer()["seconds"]) for worker in workers]
    return Seconds(*(max(kind) for kind in zip(*took, strict=True)))


def peak_bytes() -> int:
    """Return the largest resident size this process has had.

    Not ``ru_maxrss``: on Linux a new program inherits that from the process that
    started it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    msg = "this system does not tell a process's largest resident size"
    raise OSError(msg)
