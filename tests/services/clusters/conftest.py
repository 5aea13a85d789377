"""What the tests of clusters start: each service once, for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.slurm import Slurm, slurm


@pytest.fixture(scope="session")
def running_slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """Return a Slurm with a queue that starts jobs and one that is closed."""
    with slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture
def on_slurm(
    running_slurm: Slurm, monkeypatch: pytest.MonkeyPatch, clean_environment: object
) -> Iterator[Slurm]:
    """Let dask_client() use Slurm; fail where a test leaves a job behind."""
    del clean_environment  # it comes first, and removes what this sets
    for name, value in running_slurm.environ.items():
        monkeypatch.setenv(name, value)
    for name, value in {
        "DASK_BACKEND": "slurm",
        "DASK_INTERFACE": "lo",
        "DASK_QUEUE": "short",
        "DASK_WORKER_MEMORY_BYTES": "1 GB",
        "DASK_WAIT_S": "120",
    }.items():
        monkeypatch.setenv(f"CASA_ENV_{name}", value)
    yield running_slurm
    running_slurm.until_empty()
