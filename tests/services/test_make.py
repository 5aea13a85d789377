"""What ``make`` starts: the locks' own packages, in a clone at any path."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import nbformat
import pytest

#: Says in a file that it has been executed, and by which name.
PLANTED = """
import os, sys
with open({marker!r}, "a") as file:
    file.write(__name__ + " of " + repr(sys.argv) + chr(10))
"""

#: What a notebook of the test sees.
CELL = """
import json, os, pathlib, sys
pathlib.Path({seen!r}).write_text(json.dumps({{
    "variables": [name for name in os.environ if name.startswith("PYTHON")],
    "executable": sys.executable,
}}))
"""

#: Starts a Python, in what make, a shell or a Dockerfile runs.
PYTHON = re.compile(
    r"""(?:\$UV_PYTHON|\bpython3?"?|"\$+(?:PYTHON|python|name)")\s+(?=-|\w+/)"""
)


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """Copy what make needs to a path that a careless shell takes apart.

    Its environment is the one that runs this test, and counts as set up.
    """
    folder = tmp_path / "it's a $HOME & clone"
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("casa_env", "environment"):
        shutil.copytree(repository / name, folder / name, ignore=ignored)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(repository / name, folder)
    environment(folder, "lab", ".venv")
    return folder


def environment(clone: Path, layer: str, name: str) -> None:
    """Make an environment that counts as set up: the one that runs this test."""
    venv.create(clone / name, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = clone / name / "lib" / version / "site-packages"
    here = sysconfig.get_path("purelib")
    ours = (clone, clone / "environment" / "fsspec-failover")
    (packages / "of-this-test.pth").write_text("\n".join(map(str, (here, *ours))))
    code = f"import install; print(install.digest({layer!r}))"
    digest = subprocess.run(
        [sys.executable, "-c", code],
        cwd=clone / "environment",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    stamp = clone / name / "casa-setup.json"
    stamp.write_text(json.dumps({"layer": layer, "digest": digest}))


@pytest.fixture
def seen(clone: Path, tmp_path: Path) -> Path:
    """Write a notebook into the clone; return what it writes when it is run."""
    seen = tmp_path / "seen.json"
    notebook = nbformat.v4.new_notebook()
    notebook.cells.append(nbformat.v4.new_code_cell(CELL.format(seen=str(seen))))
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    (clone / "my notebooks").mkdir()
    nbformat.write(notebook, clone / "my notebooks" / "small one.ipynb")
    return seen


def make(clone: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words],
        cwd=clone,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


RUN = ("run", "NOTEBOOK=my notebooks/small one.ipynb")


@pytest.mark.fault("paths", "a clone at a path with spaces and $", "it runs")
def test_a_clone_at_an_odd_path_runs_a_notebook_at_an_odd_path(
    clone: Path, seen: Path
) -> None:
    done = make(clone, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "left out" not in done.stdout + done.stderr
    executable = Path(json.loads(seen.read_text())["executable"])
    assert executable == clone / ".venv" / "bin" / "python"


def test_a_notebook_with_another_kernel_runs_in_that_kernels_environment(
    clone: Path, seen: Path
) -> None:
    environment(clone, "root", ".venv-root")
    file = clone / "my notebooks" / "small one.ipynb"
    file.write_text(file.read_text().replace('"python3"', '"casa-root"'))
    done = make(clone, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    executable = Path(json.loads(seen.read_text())["executable"])
    assert executable == clone / ".venv-root" / "bin" / "python"


def test_a_notebooks_name_is_not_taken_for_a_command(clone: Path, seen: Path) -> None:
    name = "$(touch touched) `touch touched`.ipynb"
    (clone / "my notebooks" / "small one.ipynb").rename(clone / name)
    done = make(clone, "run", f"NOTEBOOK={name.replace('$', '$$')}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen.exists()
    assert not (clone / "touched").exists()


@pytest.mark.fault(
    "environment", "PYTHONPATH and its kin, set for make", "left out, and said"
)
def test_packages_from_elsewhere_do_not_come_in_and_that_is_said(
    clone: Path, seen: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "executed"
    planted = PLANTED.format(marker=str(marker))
    path = tmp_path / "path"
    user = Path(os.environ["HOME"]) / ".local"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (path, user / "lib" / version / "site-packages"):
        folder.mkdir(parents=True)
        for name in ("sitecustomize", "usercustomize", "nbclient", "traitlets"):
            (folder / f"{name}.py").write_text(planted)
    startup = tmp_path / "startup.py"
    startup.write_text(planted)
    done = make(
        clone,
        *RUN,
        PYTHONPATH=str(path),
        PYTHONHOME="/nowhere",
        PYTHONSTARTUP=str(startup),
        PYTHONUSERBASE=str(user),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not marker.exists(), marker.read_text()
    (line,) = [line for line in done.stderr.splitlines() if "left out" in line]
    for name in ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE"):
        assert name in line
        assert name not in json.loads(seen.read_text())["variables"]


@pytest.mark.fault("security", "yaml.py where make is started", "it does not run")
def test_a_python_file_in_the_clones_folder_is_not_executed(
    clone: Path, seen: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "executed"
    for name in ("yaml", "venv", "pip", "json", "nbclient"):
        (clone / f"{name}.py").write_text(PLANTED.format(marker=str(marker)))
    done = make(clone, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert seen.exists()
    assert not marker.exists(), marker.read_text()


def test_clean_removes_compiled_code_wherever_it_is_kept(
    clone: Path, tmp_path: Path
) -> None:
    cache, shared = tmp_path / "cache", tmp_path / "shared"
    kept = [
        cache / "casa-env" / "numba-1",
        shared / f"casa-env-numba-{os.getuid()}",
        clone / "notebooks" / "agc" / "__pycache__",
        clone / ".venv",
    ]
    for folder in (*kept, clone / "tests", cache / "of-others"):
        folder.mkdir(parents=True, exist_ok=True)
    done = make(clone, "clean", XDG_CACHE_HOME=str(cache), TMPDIR=str(shared))
    assert done.returncode == 0, done.stderr
    assert [folder for folder in kept if folder.exists()] == []
    assert (cache / "of-others").exists()


def test_ci_runs_every_step_in_a_clone_at_an_odd_path(
    repository: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "it's a $HOME & clone"
    (clone / ".ci").mkdir(parents=True)
    shutil.copy(repository / ".ci" / "run", clone / ".ci")
    program = tmp_path / "bin" / "make"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "in $PWD: $*"; [ "$*" != lock-check ]\n')
    program.chmod(0o755)
    done = subprocess.run(
        [clone / ".ci" / "run"],
        env={"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr == ""
    assert done.stdout.count(f"in {clone}: ") == 5
    assert (clone / ".ci" / "artefacts").is_dir()


def programs(repository: Path) -> list[Path]:
    """Return every file of ours that starts programs by a shell."""
    fixed = ("Makefile", "Dockerfile", "binder/Dockerfile", ".ci/run")
    scripts = (repository / "environment").rglob("*.sh")
    workflows = (repository / ".github" / "workflows").glob("*.yml")
    return [*(repository / name for name in fixed), *scripts, *workflows]


def test_every_python_that_a_shell_starts_has_a_safe_path(repository: Path) -> None:
    assert "\nPY = .venv/bin/python -P\n" in (repository / "Makefile").read_text()
    started = 0
    for file in programs(repository):
        for line in file.read_text().splitlines():
            for match in PYTHON.finditer(line.partition("# ")[0]):
                started += 1
                assert line[match.end() :].startswith(("-P", "-I")), (file, line)
    assert started > 10


def test_no_name_in_a_shared_folder_can_be_guessed(repository: Path) -> None:
    guessed = re.compile(r"/(?:var/)?tmp\b/?[\w.-]|/dev/shm|gettempdir")
    files = [*programs(repository), *(repository / "environment").rglob("*.py")]
    for file in files:
        for line in file.read_text().splitlines():
            assert not guessed.search(line), (file, line)
