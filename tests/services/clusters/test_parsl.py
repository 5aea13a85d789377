"""coffea's ParslExecutor with the settings of Dask's workers: the same histograms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parsl
import pytest
from coffea.processor import IterativeExecutor, ParslExecutor

from agc.ttbar.runs import run_ttbar
from casa_env.errors import ClusterError
from casa_env.workers.parsl_config import parsl_config
from support.nanoaod import fileset_of, random_events, write_file
from support.slurm import Slurm


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


@pytest.mark.parametrize("backend", ["htcondor", "gateway"])
def test_another_back_end_is_refused_with_those_there_are(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_BACKEND", backend)
    with pytest.raises(ClusterError, match=f"Parsl for {backend}") as caught:
        parsl_config()
    assert "local or slurm" in caught.value.next_step
