"""Workers at work: what they print, and what dies costs time or ends clearly."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from coffea.processor import DaskExecutor, IterativeExecutor
from distributed.client import FutureCancelledError
from distributed.diagnostics.plugin import ForwardOutput

from agc.ttbar.runs import run_ttbar
from casa_env import dask_client, ship
from support.nanoaod import fileset_of, random_events, write_file
from support.processes import dask_scheduler, dask_worker, kill_group

if TYPE_CHECKING:
    from distributed import Client


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return a client of a scheduler with a worker, none of them our children."""
    with (
        dask_scheduler(tmp_path_factory.mktemp("dask")) as (address, _),
        dask_client(address=address) as joined,
    ):
        yield joined


def until(true: Any, timeout: float = 30.0) -> None:
    """Wait until a function returns something true."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_a_task_prints_is_heard_where_a_user_forwards_it(
    client: Client, capfd: pytest.CaptureFixture[str]
) -> None:
    client.register_plugin(ForwardOutput())
    client.submit(eval, "print('17 jets', 'found')", pure=False).result(timeout=60)
    heard = ""

    def written() -> bool:
        nonlocal heard
        heard += capfd.readouterr().out
        return "17 jets found\n" in heard

    until(written)


def test_the_logs_of_workers_can_be_fetched(client: Client) -> None:
    (lines,) = client.get_worker_logs().values()
    assert any("casa-env-guard" in text for _, text in lines)


@pytest.fixture
def fileset(tmp_path: Path) -> dict[str, Any]:
    """Return a few small files of events."""
    events = random_events(400)
    files = [
        write_file(tmp_path / f"part{i}.root", events[40 * i : 40 * (i + 1)])
        for i in range(10)
    ]
    return fileset_of({"ttbar__nominal": files})


def test_killing_a_worker_costs_time_only(
    fileset: dict[str, Any], tmp_path: Path
) -> None:
    expected = run_ttbar(fileset, IterativeExecutor(status=False))
    folder = tmp_path / "dask"
    folder.mkdir()
    with (
        dask_scheduler(folder) as (address, _),
        dask_worker(folder, address, name="victim") as (victim, _),
        dask_client(address=address) as client,
    ):
        ship(client, "agc")
        executor = DaskExecutor(client=client, status=False)
        # Once it has taken a task, and is not let do it: the other one does it again.
        blocked = client.submit(time.sleep, 600, workers=["victim"], pure=False)
        until(lambda: any(client.processing().values()))
        threading.Timer(1.0, kill_group, [victim]).start()
        found = run_ttbar(fileset, executor, chunksize=20)
        victim.wait(60)
        blocked.cancel()
        until(lambda: len(client.nthreads()) == 1)
        assert len(client.nthreads()) == 1
    assert found.histograms == expected.histograms


def test_killing_the_scheduler_ends_a_run_with_a_clear_error_in_bounded_time(
    fileset: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "dask"
    folder.mkdir()
    with dask_scheduler(folder) as (address, scheduler):
        client = dask_client(address=address, timeout=2)
        ship(client, "agc")
        busy = client.submit(time.sleep, 600, pure=False)
        until(lambda: any(client.processing().values()))
        began = time.monotonic()
        threading.Timer(1.0, kill_group, [scheduler]).start()
        with pytest.raises(FutureCancelledError, match="connection to the scheduler"):
            run_ttbar(fileset, DaskExecutor(client=client, status=False))
        assert time.monotonic() - began < 30
        assert busy.status == "cancelled"
        client.close()
