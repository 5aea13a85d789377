"""The contract's checks of a real server, whole and broken, without an engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: Start what the hub starts, as a facility's wrapper might.
WRAPPER = """#!/bin/sh
exec "{python}" -m jupyterhub.singleuser {option} "$@"
"""


@pytest.fixture
def environ(repository: Path, tmp_path: Path) -> dict[str, str]:
    """Return the variables of an image, as far as this machine can be one."""
    return {
        "DASK_CONFIG": str(repository / "environment" / "dask" / "casa.yaml"),
        "HOME": str(tmp_path),
        "JUPYTER_CONFIG_PATH": str(repository / "environment" / "jupyter"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}",
    }


def contract(
    repository: Path, environ: dict[str, str], checks: str, *options: str
) -> tuple[int, str]:
    """Check some promises; return the exit status and what was printed."""
    folder = repository / "environment" / "contract"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", str(folder), "-k", checks),
            *("--hub-version", "6.0.0", *options),
        ],
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_server_that_keeps_its_promises(
    repository: Path, environ: dict[str, str]
) -> None:
    checks = "entrypoint or ports or hub or dashboards"
    status, printed = contract(repository, environ, checks)
    assert status == 0, printed
    assert "4 passed" in printed


def test_an_entrypoint_that_starts_something_else_is_caught(
    repository: Path, environ: dict[str, str]
) -> None:
    options = ("--entrypoint", "/bin/false")
    status, printed = contract(repository, environ, "dashboards", *options)
    assert status == 1
    assert "ended with status 1" in printed
    assert "next step: Let the entrypoint end in exec" in printed


def test_an_entrypoint_that_is_not_there_is_caught(
    repository: Path, environ: dict[str, str]
) -> None:
    options = ("--entrypoint", "/nonexistent/start")
    status, printed = contract(repository, environ, "ports", *options)
    assert status == 1
    assert "cannot be started" in printed


def test_a_server_that_listens_on_loopback_alone_is_caught(
    repository: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    wrapper = tmp_path / "jupyterhub-singleuser"
    option = "--ServerApp.ip=127.0.0.1"
    wrapper.write_text(WRAPPER.format(python=sys.executable, option=option))
    wrapper.chmod(0o755)
    environ["PATH"] = f"{tmp_path}{os.pathsep}{environ['PATH']}"
    status, printed = contract(repository, environ, "ports")
    assert status == 1
    assert "loopback alone" in printed


def test_a_dashboard_that_is_not_linked_through_the_server_is_caught(
    repository: Path, environ: dict[str, str]
) -> None:
    del environ["DASK_CONFIG"]
    status, printed = contract(repository, environ, "dashboards")
    assert status == 1
    assert "Dask links to" in printed
