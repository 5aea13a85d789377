from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from casa_env.doctor import Check, Status, run_checks
from casa_env.settings import Settings, load_settings
from support.processes import dask_scheduler, free_port

# Threads need no worker process, so that each test is quick.
QUICK = Settings(dask_processes=False, timeout_s=1.0)

pytestmark = pytest.mark.filterwarnings(
    # Workers in threads name themselves after this machine's address, which Dask finds
    # by way of a socket that tests may not open.
    "ignore:Couldn't detect a suitable IP address:RuntimeWarning"
)


def check(name: str, settings: Settings) -> Check:
    (found,) = [c for c in run_checks(settings) if c.name == name]
    return found


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_on_a_laptop_this_place_is_well_and_services_are_off() -> None:
    checks = {c.name: c for c in run_checks(load_settings())}
    assert list(checks) == [
        *("environment", "caches", "disk", "memory", "dask"),
        *("xcache", "token", "x509", "mlflow", "triton", "s3", "servicex"),
    ]
    here = ("environment", "caches", "memory", "dask")
    assert {checks[name].status for name in here} == {Status.OK}
    off = [c for c in checks.values() if c.status is Status.OFF]
    assert len(off) == 7
    assert all("CASA_ENV_" in c.next_step for c in off)
    assert "a worker process started, computed and stopped" in checks["dask"].evidence


@pytest.mark.parametrize(
    ("name", "setting", "scheme"),
    [
        ("mlflow", "mlflow_uri", "http"),
        ("triton", "triton_url", "grpc"),
        ("triton", "triton_url", "https"),
    ],
)
def test_a_server_that_is_down_has_failed_and_says_what_to_do(
    name: str, setting: str, scheme: str
) -> None:
    url = f"{scheme}://127.0.0.1:{free_port()}"
    found = check(name, replace(QUICK, **{setting: url}))  # type: ignore[arg-type]
    assert found.status is Status.FAILED
    assert "refused" in found.evidence
    assert setting in found.next_step


def test_a_tracking_uri_without_a_server_is_ok() -> None:
    found = check("mlflow", replace(QUICK, mlflow_uri="sqlite:////tmp/x.db"))
    assert (found.status, "without a server" in found.evidence) == (Status.OK, True)


def test_what_is_no_url_has_failed() -> None:
    found = check("triton", replace(QUICK, triton_url="triton"))
    assert found.status is Status.FAILED
    assert "not the URL of a Triton server" in found.evidence
    found = check("mlflow", replace(QUICK, mlflow_uri="http://"))
    assert found.status is Status.FAILED
    assert "not the URL of a server" in found.evidence


def test_what_listens_but_is_no_such_server_has_failed(listening: int) -> None:
    for name, setting, scheme in (
        ("mlflow", "mlflow_uri", "http"),
        ("triton", "triton_url", "grpc"),
        ("triton", "triton_url", "http"),
    ):
        url = f"{scheme}://127.0.0.1:{listening}"
        found = check(name, replace(QUICK, **{setting: url}))  # type: ignore[arg-type]
        assert found.status is Status.FAILED, url
        assert found.next_step


def test_a_password_in_a_url_is_not_shown(listening: int) -> None:
    url = f"http://alice:s3cret@127.0.0.1:{listening}"
    assert "s3cret" not in check("mlflow", replace(QUICK, mlflow_uri=url)).evidence


def test_a_scheduler_that_is_down_has_failed() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    found = check("dask", load_settings(dask_address=address, timeout_s=1))
    assert found.status is Status.FAILED
    assert address in found.evidence
    assert found.next_step


def test_a_scheduler_without_workers_is_a_warning(tmp_path: Path) -> None:
    with dask_scheduler(tmp_path, workers=0) as (address, _):
        found = check("dask", load_settings(dask_address=address))
    assert found.status is Status.WARNING
    assert "has 0 worker(s)" in found.evidence


def test_a_scheduler_with_a_worker_has_computed_something(tmp_path: Path) -> None:
    with dask_scheduler(tmp_path) as (address, _):
        found = check("dask", load_settings(dask_address=address))
    assert found.status is Status.OK
    assert "has 1 worker(s); one computed" in found.evidence


def test_a_batch_system_that_is_not_here_has_failed_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    found = check("dask", load_settings(dask_backend="slurm"))
    assert found.status is Status.FAILED
    assert "no sbatch here" in found.evidence
    assert "dask_backend" in found.evidence
    assert "CASA_ENV_DASK_BACKEND=local" in found.next_step


def test_a_home_that_cannot_be_written_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", "/proc/nonexistent")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert check("caches", QUICK).status is Status.WARNING


def test_little_memory_is_a_warning() -> None:
    found = check("memory", replace(QUICK, memory_limit_bytes=500_000_000))
    assert found.status is Status.WARNING
    assert found.evidence.startswith("0.5 GB")
