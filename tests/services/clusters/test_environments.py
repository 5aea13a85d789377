"""What runs on the workers is what runs in the notebook, or nothing runs."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from casa_env import compare_environments, dask_client, ship, wait_for_workers
from casa_env.errors import EnvironmentMismatchError
from casa_env.workers.delivery import RECEIVER
from casa_env.workers.remote import plugin
from casa_env.workers.sameness import environment_here
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


def without_casa_env(folder: Path, python: Path) -> Path:
    """Return a Python with distributed, as locked, and nothing of ours; skip without.

    What it needs is taken from the environment that runs the tests: all of it is
    Python, of the stable ABI, or does without its compiled part, and so serves every
    minor version.
    """
    if not python.is_file():
        pytest.skip(f"there is no {python}")
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    for name in needed("distributed"):
        distribution = metadata.distribution(name)
        for file in distribution.files or ():
            if ".." not in file.parts and "cpython-" not in file.name:
                target = site / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(distribution.locate_file(file)), target)
    return folder / "bin" / "python"


def needed(name: str) -> set[str]:
    """Return a distribution and all that it requires, without extras."""
    found, waiting = set(), [name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            required = map(Requirement, metadata.requires(name) or ())
            waiting += [
                r.name
                for r in required
                if not r.marker or r.marker.evaluate({"extra": ""})
            ]
    return found


def other_pythons() -> list[Path]:
    """Return this Python and those of other minor versions on this machine."""
    folders = [Path(p) for p in os.environ.get("PATH", "").split(os.pathsep)]
    folders += Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(
        "versions/*/bin"
    )
    names = [
        f"python3.{minor}" for minor in (10, 12, 13, 14) if minor != sys.version_info[1]
    ]
    found = {
        name: folder / name
        for folder in folders
        for name in names
        if (folder / name).is_file()
    }
    mine = Path(sys.base_prefix, "bin", f"python3.{sys.version_info[1]}")
    return [mine, *(found.values() or [Path("another-python")])]


@pytest.fixture(scope="module", params=other_pythons(), ids=lambda path: path.name)
def other_python(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a Python without casa_env, most of another minor version."""
    return without_casa_env(tmp_path_factory.mktemp("other"), request.param)


@pytest.mark.filterwarnings("ignore:Mismatched versions")  # distributed's own
def test_a_python_without_casa_env_is_refused_with_the_table_late_and_early(
    scheduler: str, tmp_path: Path, other_python: Path
) -> None:
    python = {"python": str(other_python), "environ": {"PYTHONPATH": ""}}
    (tmp_path / "only_here.py").write_text("import awkward\n")
    with dask_client(address=scheduler) as client:
        # What else a worker is met by: neither needs casa_env, or another Python.
        ship(client, tmp_path / "only_here.py")
        client.register_plugin(plugin("WorkerPlugin", "Receiver", RECEIVER))
        with dask_worker(tmp_path, scheduler, name="late", **python) as (late, log):
            late.wait(60)
        assert late.returncode == 0, log.read_text()
        assert "Traceback" not in log.read_text()
        with pytest.raises(EnvironmentMismatchError) as caught:
            wait_for_workers(client, timeout=30)
        (rows,) = caught.value.differences.values()
        assert ("casa-env", environment_here().casa_env, "missing") in rows
        same = other_python.resolve().name == f"python3.{sys.version_info[1]}"
        assert ("python" in {name for name, _, _ in rows}) != same
    with (
        dask_worker(tmp_path, scheduler, name="early", **python) as (_, log),
        pytest.raises(EnvironmentMismatchError, match=r"casa-env .* missing"),
    ):
        dask_client(address=scheduler)
    assert "Traceback" not in log.read_text()


def test_another_python_is_refused_before_it_gets_a_task(
    scheduler: str, tmp_path: Path
) -> None:
    """A stand-in where a machine has one Python: the worker only claims another.

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
