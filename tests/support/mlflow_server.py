"""A real MLflow server, on SQLite."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from support.processes import free_port, running

#: How long a server may take that makes its database, on a loaded machine.
PATIENCE_S = 240.0


@contextlib.contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """Run a server that keeps its artefacts itself; give its URL."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--serve-artifacts"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    quiet = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HOME": str(folder),
    }
    log = folder / "server.log"
    url = f"http://127.0.0.1:{port}"
    with running(command, log=log, environ=quiet) as process:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{url}/health", timeout=5).ok:
                    break
            time.sleep(0.2)
        else:
            pytest.fail(f"the MLflow server is not ready:\n{log.read_text()[-4000:]}")
        yield url
