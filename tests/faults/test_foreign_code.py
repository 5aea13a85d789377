"""Code that is not from this environment, under the name of what is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import nbformat
import pytest

from casa_env.running import run_notebook
from casa_env.workers.remote import describe, differences

DESCRIBE = """
import json
from casa_env.workers.remote import describe
from casa_env.workers.sameness import environment_here
print(json.dumps({"id": environment_here().id, **describe()}))
"""


def python(*words: str, cwd: Path | None = None, path: str = "", home: str = "") -> str:
    """Return what Python prints, with other places for code before its own."""
    environ = os.environ | {"PYTHONPATH": path, "PYTHONHOME": home}
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    return done.stdout


def described(**options: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(python("-c", DESCRIBE, **options))
    return found


def doctor(path: Path | str = "", **options: Any) -> list[dict[str, str]]:
    out = python("-m", "casa_env", "doctor", "--json", path=str(path), **options)
    checks: list[dict[str, str]] = json.loads(out)
    return checks


def package(folder: Path, name: str, content: str = "") -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(content)
    return folder


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.fault(
                "environment", injected, "another id; workers without it are refused"
            ),
        )
        for name, injected in {
            "pyhf": "another package of a locked name on PYTHONPATH",
            "yaml": "a package whose project has another name",
            "dataclasses": "a module of Python's own on PYTHONPATH",
            "sitecustomize": "code that Python runs unasked",
        }.items()
    ],
)
def test_code_from_elsewhere_makes_another_environment(
    name: str, tmp_path: Path
) -> None:
    content = "from importlib.machinery import PathFinder\n"
    if name == "dataclasses":  # which has to work
        import dataclasses

        content = Path(dataclasses.__file__).read_text()
    clean, other = described(), described(path=str(package(tmp_path, name, content)))
    assert clean["id"] != other["id"]
    assert other["packages"][name] == f"from {tmp_path}"
    (found,) = differences(other, clean, "compatible")
    assert found[:2] == (name, f"from {tmp_path}")


@pytest.mark.fault("environment", "hist.py in the working directory", "another id")
def test_a_module_in_the_working_directory_is_said(tmp_path: Path) -> None:
    (tmp_path / "hist.py").touch()
    assert described(cwd=tmp_path)["packages"]["hist"] == f"from {tmp_path}"


@pytest.mark.fault("environment", "packages in the user's own folder", "the same id")
def test_the_users_own_packages_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment, ours and an image's, does not look there."""
    clean = described()
    monkeypatch.setenv("PYTHONUSERBASE", str(tmp_path))
    monkeypatch.delenv("PYTHONNOUSERSITE", raising=False)
    package(
        Path(sysconfig.get_path("purelib", "posix_user", {"userbase": tmp_path})),
        "pyhf",
    )
    assert described()["id"] == clean["id"]


@pytest.mark.fault("environment", "a folder that is no package", "the same id")
def test_folders_and_packages_of_ones_own_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "hist").mkdir()
    package(tmp_path, "my_analysis")
    before = {name: described()[name] for name in ("id", "packages")}
    after = described(cwd=tmp_path, path=str(tmp_path))
    assert {name: after[name] for name in before} == before


@pytest.mark.fault(
    "environment", "PYTHONHOME names another standard library", "another id, and named"
)
def test_another_standard_library_is_said(tmp_path: Path) -> None:
    folder = Path(sysconfig.get_path("stdlib"))
    other = tmp_path / folder.relative_to(sys.base_prefix)
    left_out = shutil.ignore_patterns(
        "site-packages", "test", "config-*", "__pycache__"
    )
    shutil.copytree(folder, other, ignore=left_out)
    clean, found = described(), described(home=str(tmp_path))
    assert clean["id"] != found["id"]
    assert found["packages"]["python"] == f"from {other}"
    first = doctor(home=str(tmp_path))[0]
    assert f"python is from {other}, not from this environment" in first["evidence"]
    assert "PYTHONHOME" in first["next_step"]
    assert described(home=sys.base_prefix)["id"] == clean["id"]


@pytest.mark.fault(
    "environment", "another casa_env before ours", "another id, and named"
)
def test_another_casa_env_is_said_and_the_same_files_are_not(
    tmp_path: Path, repository: Path
) -> None:
    left_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(repository / "casa_env", tmp_path / "casa_env", ignore=left_out)
    clean, same = described(), described(cwd=tmp_path)
    assert same["id"] == clean["id"]
    with (tmp_path / "casa_env" / "cli.py").open("a") as file:
        file.write("# changed\n")
    other = described(cwd=tmp_path)
    assert other["id"] != clean["id"]
    assert other["packages"]["casa-env"] == f"from {tmp_path}"
    assert f"casa-env is from {tmp_path}" in doctor(cwd=tmp_path)[0]["evidence"]
    assert described(cwd=repository)["id"] == clean["id"]


def test_nothing_here_is_from_elsewhere() -> None:
    packages = describe()["packages"]
    assert [name for name in packages if packages[name].startswith("from ")] == []


@pytest.mark.fault("environment", "an old numpy on PYTHONPATH", "the doctor names it")
def test_the_doctor_survives_a_package_that_is_broken(tmp_path: Path) -> None:
    checks = doctor(package(tmp_path, "numpy", "__version__ = '1.16.0'"))
    first, *others = checks
    assert first["name"] == "environment"
    assert first["status"] == "warning"
    assert f"numpy is from {tmp_path}, not from this environment" in first["evidence"]
    assert "Unset PYTHONPATH" in first["next_step"]
    assert "numpy" in next(one for one in others if one["name"] == "dask")["evidence"]


@pytest.mark.fault("environment", "metadata that is not text", "the doctor goes on")
def test_the_doctor_survives_metadata_that_cannot_be_read(tmp_path: Path) -> None:
    info = package(tmp_path, "pyhf") / "pyhf-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(b"Name: pyhf\nVersion: \xff\xfe")
    assert f"pyhf is from {tmp_path}" in doctor(tmp_path)[0]["evidence"]


@pytest.mark.fault("environment", "PYTHONSTARTUP is set", "a run leaves it out")
def test_a_run_does_not_begin_with_pythonstartup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = tmp_path / "ran"
    (tmp_path / "startup.py").write_text(f"open({str(proof)!r}, 'w').close()")
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "startup.py"))
    cell = nbformat.v4.new_code_cell("print(1)")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "n.ipynb")
    run_notebook(tmp_path / "n.ipynb")
    assert not proof.exists()
