"""What Spark does with the analyses of two notebooks, good files and bad ones; in JSON.

Run as a program by the Python of the environment with Spark: a folder, and real files.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import uproot
from coffea.processor import IterativeExecutor

from agc.errors import AnalysisError
from agc.hists.spark import SparkExecutor
from agc.ttbar.runs import run_ttbar
from casa_env.errors import CasaEnvError
from casa_env.workers.spark import spark_session
from support.deadly import Deadly
from support.nanoaod import fileset_of, random_events, write_file
from support.root_user import DATASET, rdataframe, same

WAYS = ("uproot", "rdataframe")


def filled(
    session: Any, *files: str, ways: Sequence[str] = WAYS, chunksize: int = 1000
) -> dict[str, Any]:
    """Fill histograms in these ways: results, or the errors that there were."""
    calls = {
        "uproot": lambda: run_ttbar(
            fileset_of({DATASET: list(files)}),
            SparkExecutor(session=session),
            chunksize=chunksize,
        ),
        "rdataframe": lambda: rdataframe(
            list(files), executor=session.sparkContext, chunksize=chunksize
        ),
    }
    found: dict[str, Any] = {}
    for name in ways:
        try:
            found[name] = calls[name]()
        except AnalysisError as error:
            found[name] = f"{type(error).__name__}: {error}"
    return found


def compared(session: Any, file: str, **options: Any) -> dict[str, Any]:
    """Compare with coffea in this process: whether all bins are the same, or errors."""
    executor = IterativeExecutor(status=False)
    expected = run_ttbar(fileset_of({DATASET: [file]}), executor)
    found = filled(session, file, **options)
    selected = sum(one.sum(flow=True).value for one in expected.counts.values())
    results = {
        n: o if isinstance(o, str) else same(o, expected) for n, o in found.items()
    }
    return {"selected": selected, **results}


def worker(_: int) -> tuple[str, list[int]]:
    """Return the Python of a worker, and its process with all that started it."""
    parents = psutil.Process().parents()
    return sys.executable, [os.getpid(), *(one.pid for one in parents)]


def begun(context: Any) -> bool:
    """Wait until the first task of several is done and others are not."""
    tracker, deadline = context.statusTracker(), time.monotonic() + 60
    while time.monotonic() < deadline:
        stages = map(tracker.getStageInfo, tracker.getActiveStageIds())
        if any(0 < s.numCompletedTasks < s.numTasks for s in stages if s):
            return True
        time.sleep(0.01)
    return False


def workers_here() -> list[int]:
    """Return the processes that Spark has forked for tasks in Python."""
    pythons = {}
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "pyspark.daemon" in one.cmdline():
                pythons[one.pid] = one.ppid()
    return [pid for pid, parent in pythons.items() if parent in pythons]


def without_a_worker(session: Any, file: str, way: str, n: int) -> dict[str, Any]:
    """Kill a worker in the middle; what becomes of the run, and how long it takes.

    In local mode these are the processes of Python; on a cluster it is an executor, and
    where ``n`` is 2 the worker too, which would start it again.
    """
    context, begin = session.sparkContext, time.monotonic()
    _, (_, _, *java) = context.parallelize([0], 1).map(worker).first()
    local, killed = context.master.startswith("local"), []

    def kill() -> None:
        if begun(context):
            for pid in workers_here() if local else java[:n]:
                with contextlib.suppress(ProcessLookupError):  # it was idle, and ended
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    killer = threading.Thread(target=kill)
    killer.start()
    found = compared(session, file, ways=(way,), chunksize=100)[way]
    killer.join()
    return {"killed": killed, "found": found, "seconds": time.monotonic() - begin}


def by_deadly_tasks(session: Any, file: str) -> str:
    """Return the error of a task that kills its process each time."""
    fileset, executor = fileset_of({DATASET: [file]}), SparkExecutor(session=session)
    try:
        run_ttbar(fileset, executor, engine=Deadly(1500), chunksize=1500)
    except AnalysisError as error:
        return str(error)
    return ""


def addresses() -> list[str]:
    """Return what this process and its children listen on."""
    here = psutil.Process()
    listening = [
        connection.laddr.ip.removeprefix("::ffff:")
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    return sorted(set(listening))


def main(folder: Path, *real: str) -> None:
    """Do all of it."""
    try:
        session = spark_session()
    except CasaEnvError as error:
        print(json.dumps({"refused": f"{type(error).__name__}: {error}"}))  # noqa: T201
        return
    if not real:  # it was asked for a session alone
        os.kill(os.getpid(), signal.SIGKILL)
    context = session.sparkContext
    good = write_file(folder / "good.root", random_events(3000))
    said: dict[str, Any] = {"made up": compared(session, good)}
    said["real"] = [compared(session, file) for file in real if Path(file).exists()]
    with uproot.recreate(folder / "other.root") as file:
        file["Events"] = {"run": np.arange(3)}
    said["bad"] = {
        "missing": filled(session, good, str(folder / "nowhere.root")),
        "branch": filled(session, good, str(folder / "other.root")),
    }
    pythons = context.parallelize(range(4), 4).map(worker).collect()
    said["pythons"] = sorted({python for python, _ in pythons})
    said["addresses"] = addresses()
    if local := context.master.startswith("local"):
        said["deadly"] = by_deadly_tasks(session, good)
    ways = WAYS[:1] if local else WAYS
    said["killed"] = [
        without_a_worker(session, good, way, n) for n, way in enumerate(ways, 1)
    ]
    said["again"] = spark_session() is session
    print(json.dumps(said))  # noqa: T201 - the program's answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
