"""What runs on the workers is what runs in the notebook, or nothing runs."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from casa_env import compare_environments, dask_client, wait_for_workers
from casa_env.errors import EnvironmentMismatchError
from support.distributions import install
from support.processes import dask_scheduler, dask_worker

AWKWARD = metadata.version("awkward")


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a scheduler that is there, without workers."""
    folder = tmp_path_factory.mktemp("scheduler")
    with dask_scheduler(folder, workers=0) as (address, _):
        yield address


def differing(folder: Path, name: str, version: str) -> dict[str, str]:
    """Return the environment of a worker that has another version of one package."""
    return {"PYTHONPATH": install(folder / f"{name}-{version}", name, version)}


def test_a_worker_with_another_awkward_is_refused_with_name_and_both_versions(
    scheduler: str, tmp_path: Path
) -> None:
    environ = differing(tmp_path, "awkward", "0.0.1")
    with (
        dask_worker(tmp_path, scheduler, name="odd", environ=environ) as (worker, _),
        pytest.raises(EnvironmentMismatchError) as caught,
    ):
        dask_client(address=scheduler)
    assert worker.returncode is not None
    text = str(caught.value)
    lines = [line.split() for line in text.splitlines()]
    assert ["package", "client", "worker"] in lines
    assert ["awkward", AWKWARD, "0.0.1"] in lines
    (rows,) = caught.value.differences.values()
    assert rows == (("awkward", AWKWARD, "0.0.1"),)


def test_that_same_worker_is_taken_where_nothing_is_required(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_REQUIRE", "off")
    environ = differing(tmp_path, "awkward", "0.0.1")
    with (
        dask_worker(tmp_path, scheduler, name="odd", environ=environ),
        dask_client(address=scheduler) as client,
    ):
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3


def test_a_worker_with_one_package_more_is_accepted_unless_all_must_be_identical(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = differing(tmp_path, "unrelated-package", "1.0")
    with dask_worker(tmp_path, scheduler, name="more", environ=environ):
        with dask_client(address=scheduler) as client:
            assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        monkeypatch.setenv("CASA_ENV_DASK_REQUIRE", "identical")
        with pytest.raises(EnvironmentMismatchError) as caught:
            dask_client(address=scheduler)
    assert ("unrelated-package", "missing", "1.0") in next(
        iter(caught.value.differences.values())
    )


def test_a_worker_that_joins_later_and_differs_closes_before_it_gets_a_task(
    scheduler: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mark = tmp_path / "ran"
    environ = differing(tmp_path, "awkward", "0.0.1")
    with dask_client(address=scheduler) as client:
        futures = client.map(lambda i: (mark / str(i)).touch(), range(20))
        with dask_worker(tmp_path, scheduler, name="odd", environ=environ) as (late, _):
            late.wait(60)
        with pytest.raises(EnvironmentMismatchError) as caught:
            wait_for_workers(client, timeout=30)
        assert "worker odd on" in next(iter(caught.value.differences))
        assert "awkward" in str(caught.value)
        until(lambda: "did not start; its environment differs" in caplog.text)
        assert not mark.exists()
        # The tasks wait for a worker that is like the client, and none the worse.
        mark.mkdir()
        with dask_worker(tmp_path, scheduler, name="good"):
            client.gather(futures)
        assert len(list(mark.iterdir())) == 20


def test_closing_the_client_takes_its_guard_along(
    scheduler: str, tmp_path: Path
) -> None:
    with dask_client(address=scheduler):
        pass
    environ = differing(tmp_path, "awkward", "0.0.1")
    with dask_worker(tmp_path, scheduler, name="odd", environ=environ) as (late, _):
        time.sleep(1)
        assert late.poll() is None


def test_a_package_that_is_missing_on_a_worker_is_refused_and_named(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install(tmp_path / "here", "local-analysis", "1.0"))
    with (
        dask_worker(tmp_path, scheduler, name="less"),
        pytest.raises(EnvironmentMismatchError) as caught,
    ):
        dask_client(address=scheduler)
    row = ("local-analysis", "1.0", "missing")
    assert row in next(iter(caught.value.differences.values()))


def test_a_scheduler_is_compared_too(tmp_path: Path, monkeypatch: Any) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", install(tmp_path / "x", "awkward", "0.0.1"))
        server = dask_scheduler(tmp_path, workers=0)
        address, _ = server.__enter__()
    try:
        with pytest.raises(EnvironmentMismatchError) as caught:
            dask_client(address=address)
    finally:
        server.__exit__(None, None, None)
    assert caught.value.differences == {"scheduler": (("awkward", AWKWARD, "0.0.1"),)}


def test_an_asynchronous_client_is_compared_when_it_is_awaited(
    scheduler: str, tmp_path: Path
) -> None:
    async def join() -> None:
        async with dask_client(address=scheduler, asynchronous=True):
            pass

    environ = differing(tmp_path, "awkward", "0.0.1")
    with (
        dask_worker(tmp_path, scheduler, name="odd", environ=environ),
        pytest.raises(EnvironmentMismatchError, match="awkward"),
    ):
        asyncio.run(join())


def test_any_client_can_be_compared_again(scheduler: str, tmp_path: Path) -> None:
    with dask_client(address=scheduler) as client:
        compare_environments(client, require="identical")
        assert not list(tmp_path.iterdir())


def until(true: Any, timeout: float = 30.0) -> None:
    """Wait until a function returns something true."""
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_another_python_is_refused_before_it_gets_a_task(
    scheduler: str, tmp_path: Path
) -> None:
    """A stand-in: this machine has one Python, so that the worker only claims another.

    ``python_version`` is what it would say; all else is the real worker.
    """
    site = tmp_path / "other"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import platform\nplatform.python_version = lambda: '3.10.1'\n"
    )
    environ = {"PYTHONPATH": str(site)}
    with dask_client(address=scheduler) as client:
        with dask_worker(tmp_path, scheduler, name="old", environ=environ) as (late, _):
            late.wait(60)
        with pytest.raises(EnvironmentMismatchError) as caught:
            wait_for_workers(client, timeout=30)
    ours = f"{sys.version.split()[0]} CPython"
    rows = next(iter(caught.value.differences.values()))
    assert rows == (("python", ours, "3.10.1 CPython"),)
