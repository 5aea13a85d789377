"""A real Triton server: the binary of nvidia-pytriton's wheel, started directly."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from support.installed import locked_environment
from support.processes import free_port, running

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = REPOSITORY / "environment" / "triton-test.lock"
VENV = REPOSITORY / ".cache" / "triton-test"

#: How long a server may take to be ready on a loaded machine.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Triton:
    """A server that is running."""

    http: str
    grpc: str
    process: subprocess.Popen[bytes]
    log: Path


def triton_environment() -> Path:
    """Return the environment with the server, installed from its lock if need be."""
    return locked_environment(LOCK, VENV, what="the Triton server")


def _back_ends(folder: Path, packages: Path) -> Path:
    """Copy the Python back end and its stub to where the server looks for both."""
    server = packages / "pytriton" / "tritonserver"
    python = "{}.{}".format(*sys.version_info)
    target = folder / "backends" / "python"
    shutil.copytree(server / "backends" / "python", target)
    stub = "triton_python_backend_stub"
    # A link: the stub finds its libraries from where it really is.
    (target / stub).symlink_to(server / "python_backend_stubs" / python / stub)
    return target.parent


@contextlib.contextmanager
def triton(
    repository: Path,
    folder: Path,
    *,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    ports: tuple[int, int] | None = None,
    core: int | None = None,
) -> Iterator[Triton]:
    """Run a Triton server on a model repository while the block lasts.

    Parameters
    ----------
    repository
        The model repository.
    folder
        Where its back ends and its log go.
    options, environ
        More words and variables.
    ports
        For HTTP and gRPC; by default free ones.
    core
        The only core that it may use; by default all.
    """
    venv = triton_environment()
    python = "python{}.{}".format(*sys.version_info)
    packages = venv / "lib" / python / "site-packages"
    folder.mkdir(parents=True, exist_ok=True)
    http, grpc = ports or (free_port(), free_port())
    command = [
        str(packages / "pytriton" / "tritonserver" / "bin" / "tritonserver"),
        f"--model-repository={repository}",
        f"--backend-directory={_back_ends(folder, packages)}",
        *("--http-address=127.0.0.1", f"--http-port={http}"),
        *("--grpc-address=127.0.0.1", f"--grpc-port={grpc}", "--allow-metrics=false"),
        *("--model-control-mode=explicit", "--load-model=*", "--exit-timeout-secs=2"),
        "--backend-config=python,shm-default-byte-size=16777216",
        *options,
    ]
    if core is not None:
        command = ["taskset", "--cpu-list", str(core), *command]
    log = folder / "triton.log"
    where = {
        # The stub is linked to the Python library of this Python's version, which may
        # not be the system's; and it takes the packages of the first python3 on PATH.
        "LD_LIBRARY_PATH": str(sysconfig.get_config_var("LIBDIR")),
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        **(environ or {}),
    }
    with running(command, log=log, environ=where) as process:
        server = Triton(
            f"http://127.0.0.1:{http}", f"grpc://127.0.0.1:{grpc}", process, log
        )
        _wait(server)
        yield server


def _wait(server: Triton) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and server.process.poll() is None:
        # Ready answers without a token only where nobody asked for one: 401 will do.
        with contextlib.suppress(requests.RequestException):
            answer = requests.get(f"{server.http}/v2/health/ready", timeout=5)
            if answer.status_code in (200, 401, 403):
                return
        time.sleep(0.1)
    pytest.fail(f"the Triton server is not ready:\n{server.log.read_text()[-4000:]}")
