"""What the tests of clusters start: each service once, for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dask
import pytest

from support.condor import Condor, htcondor
from support.gateway import Gateway, gateway
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


@pytest.fixture(scope="session")
def running_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Return a Gateway."""
    with gateway(tmp_path_factory.mktemp("gateway")) as started:
        yield started


@pytest.fixture
def on_gateway(
    running_gateway: Gateway,
    monkeypatch: pytest.MonkeyPatch,
    clean_environment: object,
) -> Iterator[Gateway]:
    """Let dask_client() use it, logged in; fail where a test leaves a cluster."""
    del clean_environment  # it comes first, and removes what this sets
    monkeypatch.setenv("CASA_ENV_DASK_BACKEND", "gateway")
    monkeypatch.setenv("CASA_ENV_DASK_WAIT_S", "120")
    monkeypatch.setenv("DASK_GATEWAY__ADDRESS", running_gateway.address)
    monkeypatch.setenv("DASK_GATEWAY__PROXY_ADDRESS", running_gateway.proxy_address)
    login = {"username": "alice", "password": "s3cret"}
    monkeypatch.setenv("DASK_GATEWAY__AUTH__TYPE", "basic")  # for other processes
    monkeypatch.setenv("DASK_GATEWAY__AUTH__KWARGS", repr(login))
    with dask.config.set({"gateway.auth": {"type": "basic", "kwargs": login}}):
        yield running_gateway
    running_gateway.until_empty()


@pytest.fixture(scope="session")
def running_condor(
    tmp_path_factory: pytest.TempPathFactory, repository: Path
) -> Iterator[Condor]:
    """Return an HTCondor pool of this machine."""
    with htcondor(tmp_path_factory.mktemp("condor"), repository) as started:
        yield started
        assert started.jobs() == []


@pytest.fixture(scope="session")
def condor_site() -> dict[str, str]:
    """Return what makes dask_client() use HTCondor."""
    values = {"BACKEND": "htcondor", "INTERFACE": "lo", "WAIT_S": "120"}
    return {f"CASA_ENV_DASK_{name}": value for name, value in values.items()}
