"""The contract's checks of a real server, whole and broken, without an engine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from casa_env.checks import Check, Status
from casa_env.contract import run_contract

#: Start what the hub starts, as a facility's wrapper might.
WRAPPER = """#!/bin/sh
exec {python} -m jupyterhub.singleuser {option} "$@"
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
    environ: dict[str, str], *only: str, entrypoint: tuple[str, ...] = ()
) -> dict[str, Check]:
    checks = run_contract(
        only=only, entrypoint=entrypoint, hub_version="6.0.0", environ=environ
    )
    return {check.name: check for check in checks}


def test_a_server_that_keeps_its_promises(environ: dict[str, str]) -> None:
    checks = contract(environ, "entrypoint", "ports", "hub", "dashboards")
    assert {check.status for check in checks.values()} == {Status.OK}, checks
    assert "hub 6.0.0" in checks["hub"].evidence


def test_an_entrypoint_that_starts_something_else_is_caught(
    environ: dict[str, str],
) -> None:
    checks = contract(environ, "dashboards", entrypoint=("/bin/false",))
    assert list(checks) == ["entrypoint"]  # it says why nothing else was looked at
    assert checks["entrypoint"].status is Status.FAILED
    assert "ended with status 1" in checks["entrypoint"].evidence


def test_an_entrypoint_that_is_not_there_is_caught(environ: dict[str, str]) -> None:
    checks = contract(environ, "ports", entrypoint=("/nonexistent/start",))
    assert checks["ports"].status is Status.FAILED
    assert "cannot be started" in checks["ports"].evidence


def test_a_server_that_listens_on_loopback_alone_is_caught(
    environ: dict[str, str], tmp_path: Path
) -> None:
    wrapper = tmp_path / "jupyterhub-singleuser"
    option = "--ServerApp.ip=127.0.0.1"
    wrapper.write_text(WRAPPER.format(python=sys.executable, option=option))
    wrapper.chmod(0o755)
    environ["PATH"] = f"{tmp_path}{os.pathsep}{environ['PATH']}"
    check = contract(environ, "ports")["ports"]
    assert check.status is Status.FAILED
    assert "loopback alone" in check.evidence


def test_a_dashboard_that_is_not_linked_through_the_server_is_caught(
    environ: dict[str, str],
) -> None:
    del environ["DASK_CONFIG"]
    check = contract(environ, "dashboards")["dashboards"]
    assert check.status is Status.FAILED
    assert "Dask links to" in check.evidence
