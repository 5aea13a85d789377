"""What takes processes of its own: starting cold, two at once, and memory."""

from __future__ import annotations

import tempfile
import time

from benchmarks.inputs import Input
from benchmarks.measurement import (
    CORES,
    REPEATS,
    Seconds,
    Worker,
    median,
    together,
)
from benchmarks.verdicts import verdict

PROCESSES_TARGET = 1.8
MEMORY_TARGET_MB = 600.0


def print_processes(file: Input, other: Input) -> None:
    """Print the time to the first result, the memory, and what a second process gains.

    The other file is as large and has other events.
    """
    print(f"\nIn processes of their own, {file.label}:")
    job = (file.sample, file.path)
    with tempfile.TemporaryDirectory() as cache:
        environ = {"NUMBA_CACHE_DIR": cache}
        for state in ("cold, nothing compiled yet", "warm, compiled code cached"):
            seconds, inside, peak = _first_result(job, environ)
            print(
                f"  new process, {state}: first result after {seconds:.1f} s, "
                f"{inside.wall:.1f} s of it the run; peak memory {peak / 1e6:.0f} MB",
                flush=True,
            )
        print(
            f"  peak memory of the second: {peak / 1e6:.0f} MB "
            f"{verdict(peak / 1e6, MEMORY_TARGET_MB, at_most=True)}"
        )
        if len(CORES) < 2:
            print("  two processes at once: not measured, there is one core only")
            return
        by_core, by_wall = _two_against_one(file, other, environ)
        print(
            f"  two processes at once, events a second against one: {by_core:.2f} "
            f"{verdict(by_core, PROCESSES_TARGET)}; on the clock, with whatever else "
            f"runs here: {by_wall:.2f}"
        )


def _first_result(
    job: tuple[str, str], environ: dict[str, str]
) -> tuple[float, Seconds, int]:
    """Return seconds since Python was started, those of the run, and the memory."""
    with Worker(CORES[-1], environ) as worker:
        worker.tell(*job, times=1)
        answer = worker.answer()
        seconds = time.perf_counter() - worker.started
    return seconds, Seconds(*answer["seconds"]), answer["peak_bytes"]


def _two_against_one(file: Input, other: Input, environ: dict[str, str]) -> Seconds:
    """Return the ratio of events per second, by each kind of time."""
    jobs = [(one.sample, one.path) for one in (file, other)]
    alone, both = [], []
    with Worker(CORES[-2], environ) as first, Worker(CORES[-1], environ) as second:
        together((first, second), jobs)  # imports, and the files' first reading
        for _ in range(REPEATS):
            alone.append(together((first,), jobs[:1]))
            both.append(together((first, second), jobs))
            alone.append(together((second,), jobs[1:]))
    one, two = median(alone), median(both)
    return Seconds(2 * one.core / two.core, 2 * one.wall / two.wall)
