"""Workers as jobs of a real Slurm."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dask
import distributed
import pytest
from distributed.core import Status

from casa_env import dask_client, dask_cluster, load_settings, run_checks
from casa_env.doctor import Status as CheckStatus
from casa_env.errors import ClusterError
from casa_env.workers.tls import sessions_folder
from support.panel import panel_configuration
from support.slurm import Slurm
from support.strangers import NOBODY, answers

#: A kernel, for this purpose: it starts something, says so, and works for long.
KERNEL = """\
import time
from casa_env.doctor import Status as CheckStatus
from casa_env import dask_client, dask_cluster, load_settings, run_checks
started = {start}
print("started", flush=True)
time.sleep(600)
"""


def test_a_client_has_native_objects_tls_and_workers_that_are_jobs(
    on_slurm: Slurm,
) -> None:
    with dask_client(workers=2) as client:
        assert type(client) is distributed.Client
        # Not imported above: dask_jobqueue makes Ctrl-C end the process.
        assert type(client.cluster) is sys.modules["dask_jobqueue"].SLURMCluster
        assert client.scheduler.address.startswith("tls://127.0.0.1:")
        client.wait_for_workers(2, timeout=60)
        found = client.run(os.getenv, "SLURM_JOB_ID")
        assert sorted(found.values()) == sorted(on_slurm.jobs())
        assert len(found) == 2
        cluster = client.cluster
    assert cluster.status is Status.closed


@pytest.mark.fault("security", "another user opens a batch cluster's page", "no answer")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as a second user")
@pytest.mark.usefixtures("on_slurm")
def test_a_login_nodes_other_users_do_not_see_the_schedulers_page() -> None:
    with dask_client(scheduler_options={"idle_timeout": "1h"}) as client:
        scheduler = client.cluster.scheduler
        assert scheduler.idle_timeout == 3600
        assert answers(0, scheduler.http_server.port) == {"200"}
        assert answers(NOBODY, scheduler.http_server.port) == {""}


@pytest.mark.usefixtures("on_slurm")
def test_keys_are_for_the_user_alone_and_go_when_the_session_ends() -> None:
    with dask_client() as client:
        keys = list(sessions_folder().glob("*/tls/*"))
        assert len(keys) == 3
        assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}
        assert {key.parent.stat().st_mode & 0o777 for key in keys} == {0o700}
        # Another of the user's processes, with no more than the address.
        address = client.scheduler.address
        code = f"from distributed import Client; print(Client({address!r}).nthreads())"
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("{'tls://127.0.0.1:")
    assert not any(key.exists() for key in keys)
    assert list(sessions_folder().glob("schedulers/*")) == []


def test_the_number_of_workers_follows_the_work(
    on_slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_MAX_WORKERS", "3")
    with dask_client() as client:
        assert len(on_slurm.jobs()) == 1
        work = client.map(time.sleep, [60 + i for i in range(9)])
        client.wait_for_workers(3, timeout=60)
        assert len(on_slurm.jobs()) == 3
        client.cancel(work)


@pytest.mark.fault(
    "batch", "a queue that never starts a job", "an error with its reason"
)
def test_a_queue_that_never_starts_a_job_is_an_error_with_its_reason(
    on_slurm: Slurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_QUEUE", "closed")
    monkeypatch.setenv("CASA_ENV_DASK_WAIT_S", "4")
    with pytest.raises(ClusterError, match="0 of 1 workers came within 4 s") as caught:
        dask_client()
    assert "1 pending (PartitionDown)" in caught.value.looked_at
    assert "dask_queue" in caught.value.next_step
    assert "0 of 1 running, 1 pending (PartitionDown)\n" in capsys.readouterr().err
    assert on_slurm.jobs() == []


@pytest.mark.fault("batch", "a job fails at once", "its exit code and last words")
def test_a_job_that_fails_is_an_error_at_once_with_its_exit_code_and_last_words(
    on_slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_WORKER_PYTHON", "/nonexistent/python")
    with pytest.raises(ClusterError, match="and no more will") as caught:
        dask_client()
    assert "1 failed (FAILED, NonZeroExitCode, exit code 127)" in caught.value.looked_at
    assert "/nonexistent/python: No such file" in caught.value.looked_at
    assert on_slurm.jobs() == []


@pytest.mark.fault("batch", "Slurm refuses a job", "an error with what it said")
def test_a_job_that_slurm_does_not_take_is_an_error_with_what_it_said(
    on_slurm: Slurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_QUEUE", "nonexistent")
    with pytest.raises(ClusterError, match="slurm did not take") as caught:
        dask_cluster()
    assert "invalid partition" in caught.value.looked_at
    assert on_slurm.jobs() == []


@pytest.mark.fault("batch", "the kernel of running jobs is killed", "the jobs end")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_jobs_of_a_kernel_that_dies_end_by_themselves_and_the_next_session_sweeps(
    number: signal.Signals, on_slurm: Slurm, tmp_path: Path
) -> None:
    with kernel("dask_client(workers=2, death_timeout=10)", tmp_path) as process:
        assert len(on_slurm.jobs()) == 2
        os.killpg(process.pid, number)
    on_slurm.until_empty(60)
    assert len(list(sessions_folder().glob("*/tls/*"))) == 3
    with dask_cluster():
        assert len(list(sessions_folder().glob("*/tls/*"))) == 3
    assert list(sessions_folder().glob("*/tls")) == []


def test_a_waiting_job_of_a_kernel_that_died_ends_once_it_starts(
    on_slurm: Slurm, tmp_path: Path
) -> None:
    start = "dask_cluster(queue='closed', death_timeout=5)"
    with kernel(start, tmp_path) as process:
        assert len(on_slurm.jobs()) == 1
        os.killpg(process.pid, signal.SIGKILL)
    on_slurm.ask("scontrol", "update", "PartitionName=closed", "State=UP")
    try:
        on_slurm.until_empty(90)
    finally:
        on_slurm.ask("scontrol", "update", "PartitionName=closed", "State=DOWN")


@contextmanager
def kernel(start: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Give a process, with a group of its own, that has started something."""
    with subprocess.Popen(
        [sys.executable, "-c", KERNEL.format(start=start)],
        stdout=subprocess.PIPE,
        cwd=folder,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process


@pytest.mark.fault("batch", "a wait for jobs is interrupted", "no job is left")
def test_a_cell_that_is_interrupted_while_it_waits_leaves_no_job(
    on_slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_QUEUE", "closed")
    process = subprocess.Popen(
        [sys.executable, "-c", "from casa_env import dask_client; dask_client()"],
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stderr is not None
    with process:
        assert process.stderr.readline().startswith(b"workers: 0 of 1 running, 1 pend")
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.stderr.read()
    on_slurm.until_empty(10)


@pytest.mark.fault("batch", "no batch system's programs", "an error that says so")
def test_without_the_batch_systems_programs_the_error_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ClusterError, match="no sbatch here") as caught:
        dask_cluster(backend="slurm")
    assert "argument" in caught.value.looked_at


def test_the_panel_can_start_scale_and_stop_one_and_a_notebook_joins_it(
    on_slurm: Slurm,
) -> None:
    link = "/user/alice/proxy/{port}/status"

    async def panel() -> tuple[str, int, int]:
        # Importing it makes a manager, which needs an event loop.
        from dask_labextension.manager import DaskClusterManager

        async with DaskClusterManager() as manager:
            model = await manager.start_cluster()
            await manager.scale_cluster(model["id"], 2)
            # The code that a click in the panel writes into a notebook.
            address = model["scheduler_address"]
            async with distributed.Client(address, asynchronous=True) as client:
                await client.wait_for_workers(2, timeout=60)
                result = await client.submit(sum, [1, 2])
            workers = manager.get_cluster(model["id"])["workers"]
            await manager.close_cluster(model["id"])
            return model["dashboard_link"], workers, result

    dashboards = panel_configuration() | {"distributed.dashboard.link": link}
    with dask.config.set(dashboards):
        shown, workers, result = asyncio.run(asyncio.wait_for(panel(), 120))
    assert shown.startswith("/user/alice/proxy/")
    assert (workers, result) == (2, 3)
    on_slurm.until_empty()


@pytest.mark.usefixtures("on_slurm")
def test_doctor_lets_one_job_compute() -> None:
    (found,) = [c for c in run_checks(load_settings()) if c.name == "dask"]
    assert found.status is CheckStatus.OK
    assert "slurm: a worker started, computed and stopped in" in found.evidence
