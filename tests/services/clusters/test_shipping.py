"""Code and packages that only the client has, on every worker."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from casa_env import (
    compare_environments,
    dask_client,
    ship,
    wait_for_workers,
)
from casa_env.errors import ClusterError, EnvironmentMismatchError
from casa_env.workers.remote import plugin, process_here
from casa_env.workers.sameness import environment_here
from support.processes import dask_scheduler, dask_worker

if TYPE_CHECKING:
    from distributed import Client


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a scheduler with two workers, elsewhere on the disk."""
    folder = tmp_path_factory.mktemp("scheduler")
    with dask_scheduler(folder, workers=2) as (address, _):
        yield address


@pytest.fixture
def client(scheduler: str) -> Iterator[Client]:
    with dask_client(address=scheduler) as joined:
        yield joined


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Path:
    """Return the folder of a package that only this process can import."""
    name = f"analysis_{abs(hash(request.node.name))}"
    folder = tmp_path / "beside the notebook" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("from .cuts import cut\n")
    (folder / "cuts.py").write_text("def cut():\n    return 30\n")
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def everywhere(client: Client, package: Path) -> set[Any]:
    """Return what each worker computes with the package."""
    code = f"__import__({package.name!r}).cut()"
    return set(client.run(eval, code).values())


def test_a_package_can_be_imported_on_every_worker(
    client: Client, package: Path
) -> None:
    with pytest.raises(ModuleNotFoundError):
        everywhere(client, package)
    digest = ship(client, package.name)
    assert len(digest) == 64
    assert everywhere(client, package) == {30}
    module = __import__(package.name)
    assert client.submit(module.cut).result(timeout=60) == 30


def test_a_changed_file_reaches_all_workers_on_the_next_call(
    client: Client, package: Path
) -> None:
    first = ship(client, package)
    assert everywhere(client, package) == {30}
    (package / "cuts.py").write_text("def cut():\n    return 25\n")
    assert ship(client, package) != first
    assert everywhere(client, package) == {25}
    (package / "cuts.py").write_text("def cut():\n    return 30\n")
    assert ship(client, package) == first
    assert everywhere(client, package) == {30}


def test_a_worker_that_joins_later_has_the_code(
    client: Client, package: Path, scheduler: str, tmp_path: Path
) -> None:
    ship(client, package)
    with dask_worker(tmp_path, scheduler, name="late", options=("--nanny",)):
        client.wait_for_workers(3, timeout=60)
        assert everywhere(client, package) == {30}


def test_a_single_file_is_shipped_too(client: Client, tmp_path: Path) -> None:
    module = tmp_path / "one_file_module.py"
    module.write_text("def cut():\n    return 7\n")
    ship(client, module)
    assert everywhere(client, Path("one_file_module")) == {7}


def test_what_fails_to_import_is_an_error_here_with_the_reason(
    client: Client, package: Path
) -> None:
    (package / "cuts.py").write_text("import not_there_at_all\n")
    with pytest.raises(ClusterError, match="No module named 'not_there_at_all'"):
        ship(client, package)


def test_a_worker_on_which_the_code_fails_does_not_start_and_says_why(
    client: Client, package: Path, scheduler: str, tmp_path: Path
) -> None:
    (package / "cuts.py").write_text(
        textwrap.dedent("""\
        import os
        if "BROKEN" in os.environ:
            raise OSError("no calibration here")
        def cut():
            return 30
        """)
    )
    ship(client, package)
    environ = {"BROKEN": "1"}
    with dask_worker(tmp_path, scheduler, name="bad", environ=environ) as (late, _):
        late.wait(60)
    with pytest.raises(ClusterError, match="keeps workers from starting") as caught:
        wait_for_workers(client, 3, timeout=30)
    assert "worker bad on" in caught.value.looked_at.lower()
    assert "OSError: no calibration here" in caught.value.looked_at
    assert len(client.nthreads()) == 2


def test_shipped_code_is_part_of_the_identity(client: Client, package: Path) -> None:
    before = environment_here().id
    ship(client, package)
    assert environment_here().id != before
    compare_environments(client)
    forget = f"__import__('sys')._casa_env_shipped.pop({package.name!r})"
    client.run(eval, forget, workers=[next(iter(client.nthreads()))])
    with pytest.raises(EnvironmentMismatchError, match=package.name):
        compare_environments(client)


def test_code_with_a_wrong_hash_is_refused_by_the_worker(client: Client) -> None:
    home = process_here()
    forged = plugin("WorkerPlugin", "Code", "forged", "os", "0" * 64, b"PK", home)
    with pytest.raises(ValueError, match="the hash of os is"):
        client.register_plugin(forged)
    client.unregister_worker_plugin(forged.name)


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        ("no_such_module_anywhere", "no module 'no_such_module_anywhere'"),
        ("/nonexistent/x.py", "no such file, module or package"),
        ("/nonexistent/x", "no such file, module or package"),
        ("json.so", "no such file, module or package"),
    ],
)
def test_what_is_no_code_is_refused_here(
    client: Client, what: str, problem: str
) -> None:
    with pytest.raises(ClusterError, match=problem):
        ship(client, what)
