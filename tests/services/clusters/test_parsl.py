"""coffea's ParslExecutor with the settings of Dask's workers: the same histograms."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import parsl
import psutil
import pytest
from coffea.processor import IterativeExecutor, ParslExecutor

from agc.errors import AnalysisError
from agc.ttbar.runs import run_ttbar
from casa_env.errors import ClusterError
from casa_env.workers.parsl_config import parsl_config
from support.deadly import Deadly
from support.nanoaod import fileset_of, random_events, write_file
from support.slurm import Slurm

#: A kernel, for this purpose: Parsl has run something for it, and it works for long.
KERNEL = """\
import os, time, parsl
from casa_env.workers.parsl_config import parsl_config
parsl.load(parsl_config())
parsl.python_app(os.getpid)().result()
print("started", flush=True)
time.sleep(600)
"""


@pytest.fixture
def fileset(tmp_path: Path) -> dict[str, Any]:
    files = [
        write_file(tmp_path / f"{i}.root", random_events(200, seed=i)) for i in range(4)
    ]
    return fileset_of({"ttbar__nominal": files})


@pytest.fixture
def loaded() -> Iterator[Any]:
    """Load a configuration, and end it after the test."""
    yield lambda **options: parsl.load(parsl_config(**options))
    parsl.dfk().cleanup()
    parsl.clear()


def counts(fileset: dict[str, Any], executor: Any) -> dict[str, Any]:
    return run_ttbar(fileset, executor, chunksize=70).counts


def test_workers_of_this_machine_fill_the_same_histograms(
    fileset: dict[str, Any], loaded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # without Parsl's own programs
    loaded()
    found = counts(fileset, ParslExecutor(status=False))
    assert found == counts(fileset, IterativeExecutor(status=False))
    remote = parsl.python_app(os.getpid)().result(60)
    assert remote != os.getpid()


def test_jobs_of_slurm_fill_the_same_histograms(
    fileset: dict[str, Any],
    on_slurm: Slurm,
    loaded: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_WORKERS", "2")
    loaded()
    found = counts(fileset, ParslExecutor(status=False))
    assert found == counts(fileset, IterativeExecutor(status=False))
    assert len(on_slurm.jobs()) == 2
    assert parsl.python_app(os.getenv)("SLURM_JOB_ID").result(60) in on_slurm.jobs()


@pytest.mark.slow
@pytest.mark.fault("clusters", "a worker of Parsl is killed", "same, or an error")
def test_a_worker_that_dies_costs_time_and_a_piece_that_ends_each_is_said_to(
    loaded: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DASK_JOBQUEUE__LOCAL__DEATH_TIMEOUT", "10s")
    loaded()
    file = write_file(tmp_path / "f.root", random_events(200))
    fileset = fileset_of({"ttbar__nominal": [file]})
    executor, once = ParslExecutor(status=False), Deadly(100, tmp_path / "killed")
    found = run_ttbar(fileset, executor, engine=once, chunksize=100).counts
    assert (tmp_path / "killed").exists()
    assert found == counts(fileset, IterativeExecutor(status=False))
    with pytest.raises(AnalysisError, match="Every worker that began a task"):
        run_ttbar(fileset, executor, engine=Deadly(100), chunksize=100)


@pytest.mark.slow
@pytest.mark.fault("batch", "the kernel of Parsl's workers is killed", "all end")
def test_nothing_is_left_of_a_kernel_that_is_killed(
    on_slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for backend in ("LOCAL", "SLURM"):
        monkeypatch.setenv(f"DASK_JOBQUEUE__{backend}__DEATH_TIMEOUT", "6s")
    with kernel(tmp_path, "slurm") as with_jobs, kernel(tmp_path, "local") as alone:
        assert len(on_slurm.jobs()) == 1
        for process in (with_jobs, alone):
            assert "interchange" in " ".join(session_of(process).values())
            process.kill()  # and not its group: a kernel is killed alone
            process.wait()
        assert "process_worker_pool.py" in " ".join(session_of(alone).values())
        deadline = time.monotonic() + 60
        while left := session_of(alone) | session_of(with_jobs):
            assert time.monotonic() < deadline, left
            time.sleep(0.2)
    on_slurm.until_empty(30)


@contextmanager
def kernel(folder: Path, backend: str) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process, with a session of its own, that Parsl has run a task for."""
    with subprocess.Popen(
        [sys.executable, "-c", KERNEL],
        stdout=subprocess.PIPE,
        cwd=folder,
        env=os.environ | {"CASA_ENV_DASK_BACKEND": backend},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"started\n"
            yield process
        finally:
            process.kill()
            for pid in session_of(process):
                os.kill(pid, signal.SIGKILL)


def session_of(process: subprocess.Popen[bytes]) -> dict[int, str]:
    """Return what runs in the session that a process leads, or led."""
    found = {}
    for one in psutil.process_iter():
        try:
            if os.getsid(one.pid) == process.pid and one.status() != "zombie":
                found[one.pid] = " ".join(one.cmdline())
        except (ProcessLookupError, psutil.Error):
            continue
    return found


@pytest.mark.parametrize("backend", ["htcondor", "gateway"])
def test_another_back_end_is_refused_with_those_there_are(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_BACKEND", backend)
    with pytest.raises(ClusterError, match=f"Parsl for {backend}") as caught:
        parsl_config()
    assert "local or slurm" in caught.value.next_step
