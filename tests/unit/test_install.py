"""Setting up the environment: what a newcomer sees when something is missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


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


def test_no_suitable_python_is_one_line(repository: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "python3").write_text("#!/bin/sh\nexit 0\n")  # too old: prints nothing
    (tools / "python3").chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(repository / "environment" / "find-python.sh")],
        env={"PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "no Python 3.11, 3.12 or 3.13 found" in line
    assert "PYTHON=" in line


def test_the_python_that_was_named_is_found(repository: Path) -> None:
    done = subprocess.run(
        ["/bin/sh", str(repository / "environment" / "find-python.sh")],
        env={"PATH": "/nowhere", "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).samefile(sys.executable)


def test_an_environment_that_is_current_is_left_alone(
    clone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(clone / "environment"))
    monkeypatch.delitem(sys.modules, "install", raising=False)
    import install

    assert Path(install.REPOSITORY) == clone
    assert install.needed("lab") == "lab"
    (clone / ".venv").mkdir()

    def made(layer: str) -> None:
        stamp = {"layer": layer, "digest": install.digest(layer)}
        install.STAMP.write_text(json.dumps(stamp))

    made("test")  # holds all of lab, not the other way round
    assert install.needed("test") is None
    assert install.needed("lab") is None
    made("lab")
    assert install.needed("lab") is None
    assert install.needed("test") == "test"
    made("test")
    for layer in ("lab", "test"):
        with (clone / "environment" / f"{layer}.lock").open("a") as lock:
            lock.write("# changed\n")
    assert install.needed("lab") == "test"


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
