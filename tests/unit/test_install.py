"""Setting up the environment: what a newcomer sees when something is missing."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType

import pytest
from jupyter_client.kernelspec import KernelSpecManager


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """Copy what setting up needs, to a path with spaces."""
    folder = tmp_path / "a clone"
    for name in ("environment", "casa_env"):
        shutil.copytree(
            repository / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(repository / "pyproject.toml", folder)
    return folder


@pytest.fixture
def install(clone: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Import the clone's own installer."""
    monkeypatch.syspath_prepend(str(clone / "environment"))
    monkeypatch.delitem(sys.modules, "install", raising=False)
    module = importlib.import_module("install")
    assert clone.samefile(module.REPOSITORY)
    return module


def find_python(clone: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "environment/find-python.sh"],
        cwd=clone,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def old_python(path: Path) -> Path:
    """Write a program that says nothing about itself, as a Python that is too old."""
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\nexit 0\n")
    path.chmod(0o755)
    return path


def setup(clone: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "environment/install.py", "lab"],
        cwd=clone,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_a_network_it_says_so_in_one_line(clone: Path, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    done = setup(
        clone,
        PATH=str(tmp_path),
        HTTPS_PROXY=nowhere,
        HTTP_PROXY=nowhere,
        ALL_PROXY=nowhere,
        PIP_CONFIG_FILE=os.devnull,
        PIP_NO_CACHE_DIR="1",
        PIP_FIND_LINKS="",
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("casa: could not install uv")
    assert "check the network" in line
    assert "Traceback" not in done.stdout + done.stderr


def test_a_full_disk_is_said_before_anything_is_downloaded(
    clone: Path, tmp_path: Path
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "casa-test", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    try:
        there = small / "clone"
        shutil.copytree(clone, there)
        done = setup(there)
    finally:
        subprocess.run(["umount", str(small)], check=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "0.0 GB free" in line
    assert "free some" in line


def test_no_suitable_python_is_one_line(clone: Path, tmp_path: Path) -> None:
    tools = old_python(tmp_path / "bin" / "python3").parent
    done = find_python(clone, PATH=str(tools))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "no Python 3.11, 3.12 or 3.13 found" in line
    assert "PYTHON=" in line


def test_the_python_that_was_named_is_found(clone: Path) -> None:
    done = find_python(clone, PATH="/nowhere", PYTHON=sys.executable)
    assert Path(done.stdout.strip()).samefile(sys.executable)


def test_a_named_python_that_will_not_do_is_not_replaced_by_another(
    clone: Path, tmp_path: Path
) -> None:
    old = old_python(tmp_path / "bin" / "python2")
    done = find_python(clone, PATH=str(Path(sys.executable).parent), PYTHON=str(old))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"PYTHON={old} is not a Python 3.11, 3.12 or 3.13" in line


def test_an_environment_keeps_the_python_it_was_made_with(
    clone: Path, tmp_path: Path
) -> None:
    venv.create(clone / ".venv", symlinks=True)
    tools = old_python(tmp_path / "bin" / "python3").parent
    done = find_python(clone, PATH=str(tools))
    assert Path(done.stdout.strip()).samefile(sys.executable)
    assert ".venv" not in done.stdout  # it cannot be used to make itself anew


def make_environment(install: ModuleType, layer: str) -> None:
    """Leave what an installation leaves for the next one to see."""
    venv = install.venv_of(layer)
    (venv / install.PYTHON).parent.mkdir(parents=True, exist_ok=True)
    (venv / install.PYTHON).touch()
    stamp = {"layer": layer, "digest": install.digest(layer)}
    (venv / install.STAMP).write_text(json.dumps(stamp))


def test_what_is_not_there_is_needed(install: ModuleType) -> None:
    assert install.needed("lab") == "lab"
    assert install.needed("test") == "test"


def test_an_environment_that_is_current_is_left_alone(install: ModuleType) -> None:
    make_environment(install, "lab")
    assert install.needed("lab") is None


def test_the_tests_environment_holds_all_of_lab_not_the_other_way_round(
    install: ModuleType,
) -> None:
    make_environment(install, "test")
    assert install.needed("lab") is None
    make_environment(install, "lab")
    assert install.needed("test") == "test"


def test_a_lock_that_changed_updates_the_layer_that_was_there(
    install: ModuleType, clone: Path
) -> None:
    make_environment(install, "test")
    for layer in ("lab", "test"):
        with (clone / "environment" / f"{layer}.lock").open("a") as lock:
            lock.write("# changed\n")
    assert install.needed("lab") == "test"


@pytest.mark.parametrize("folder", ["", "environment/fsspec-failover"])
def test_a_change_of_what_is_our_own_updates_the_environment(
    install: ModuleType, clone: Path, folder: str
) -> None:
    make_environment(install, "lab")
    with (clone / folder / "pyproject.toml").open("a") as project:
        project.write("# changed\n")
    assert install.needed("lab") == "lab"


def test_an_environment_whose_python_was_removed_is_made_anew(
    install: ModuleType,
) -> None:
    make_environment(install, "lab")
    python = install.VENV / install.PYTHON
    python.unlink()
    python.symlink_to("/nowhere/python3")
    assert install.needed("lab") == "lab"


@pytest.mark.parametrize("layer", ["root", "spark"])
def test_an_environment_beside_it_is_another(install: ModuleType, layer: str) -> None:
    make_environment(install, "lab")
    assert install.needed(layer) == layer
    make_environment(install, layer)
    assert install.needed(layer) is None
    assert install.needed("lab") is None
    assert install.needed("test") == "test"


def test_the_lab_offers_the_kernels_of_environments_beside_it(
    install: ModuleType,
) -> None:
    make_environment(install, "lab")
    folder = install.VENV / "share" / "jupyter" / "kernels"
    manager = KernelSpecManager(kernel_dirs=[str(folder)])
    install.offer_kernels()
    assert "casa-root" not in manager.find_kernel_specs()
    make_environment(install, "root")
    install.offer_kernels()
    spec = manager.get_kernel_spec("casa-root")
    assert spec.argv[0] == str(install.venv_of("root") / install.PYTHON)
    assert "ROOT" in spec.display_name


def test_what_an_environment_adds_is_what_it_does_not_share(
    install: ModuleType,
) -> None:
    make_environment(install, "lab")
    make_environment(install, "root")
    shared = install.VENV / "shared"
    shared.write_bytes(bytes(3_000_000))
    (install.venv_of("root") / "shared").hardlink_to(shared)
    (install.venv_of("root") / "own").write_bytes(bytes(2_000_000))
    assert install.added_mb(install.venv_of("root")) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere compilers bring them")
def test_without_the_headers_of_cpp_the_command_that_installs_them_is_said(
    install: ModuleType, tmp_path: Path
) -> None:
    with pytest.raises(install.SetupError) as caught:
        install.require_headers(tmp_path, "*/vector")
    assert re.search(r"apt-get install libstdc\+\+-\d+-dev", str(caught.value))
    (tmp_path / "12").mkdir()
    (tmp_path / "12" / "vector").touch()
    install.require_headers(tmp_path, "*/vector")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (None, "none is in JAVA_HOME or on PATH"),
        ('openjdk version "11.0.25" 2024-10-15', "java is 11"),
        ('openjdk version "17.0.15" 2025-04-15', None),
        ('openjdk version "21" 2023-09-19', None),
    ],
)
def test_without_a_java_that_spark_runs_on_the_command_that_installs_it_is_said(
    install: ModuleType, tmp_path: Path, said: str | None, told: str | None
) -> None:
    if said is not None:
        java = tmp_path / "java"
        java.write_text(f"#!/bin/sh\necho '{said}' >&2\n")
        java.chmod(0o755)
    if told is None:
        install.require_java({"PATH": str(tmp_path)})
        return
    with pytest.raises(install.SetupError, match=told) as caught:
        install.require_java({"PATH": str(tmp_path)})
    assert "apt-get install default-jre-headless" in str(caught.value)


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        ("dns error", "cannot be reached (dns error): check the network"),
        ("invalid peer certificate: UnknownIssuer", "UV_SYSTEM_CERTS=1"),
    ],
)
def test_what_keeps_the_registry_away_is_told_with_its_cause(
    install: ModuleType, cause: str, told: str
) -> None:
    # as uv 0.13 writes it, on one line
    reason = (
        "error: Failed to fetch: https://example.org/simple/six/ "
        "cause: error sending request for url (https://example.org/simple/six/) "
        f"cause: client error (Connect) cause: {cause} hint: Consider something"
    )
    problem = install.registry_problem(reason)
    assert told in problem
    assert f"({cause})" in problem
    assert "Consider" not in problem


def test_another_failure_is_not_put_down_to_the_network(install: ModuleType) -> None:
    assert install.registry_problem("error: Hash mismatch for `six==1.17.0`") == ""


def test_missing_system_packages_are_listed_with_their_reason(
    repository: Path, tmp_path: Path
) -> None:
    program = tmp_path / "system_packages.py"
    shutil.copy(repository / "environment" / "system_packages.py", program)
    (tmp_path / "test-apt.txt").write_text(
        "# a comment\nno-such-package-of-ours   # because of this test\n"
    )
    done = subprocess.run(
        [sys.executable, str(program), "--list"],
        capture_output=True,
        text=True,
        check=True,
    )
    if not shutil.which("dpkg-query"):
        assert "not Debian" in done.stdout
        return
    assert "no-such-package-of-ours because of this test" in done.stdout
    assert "apt-get install no-such-package-of-ours" in done.stdout
