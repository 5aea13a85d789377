"""A real Dask Gateway on loopback that starts schedulers and workers as processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import requests

from support.processes import free_port, running
from support.programs import absent

#: How long the server may take to start on a loaded machine, in seconds.
PATIENCE_S = 120.0

#: distributed has no programs dask-scheduler and dask-worker any more, which the
#: server would start by default. The Python is a choice, as images are at a site.
CONFIGURATION = """\
from dask_gateway_server.options import Options, String


def commands(options):
    dask = [options.python, "-m", "dask"]
    return {{"scheduler_cmd": [*dask, "scheduler"], "worker_cmd": [*dask, "worker"]}}


c.DaskGateway.address = "127.0.0.1:{server}"
c.DaskGateway.backend_class = (
    "dask_gateway_server.backends.local.UnsafeLocalBackend"
)
c.DaskGateway.authenticator_class = "dask_gateway_server.auth.SimpleAuthenticator"
c.SimpleAuthenticator.password = "s3cret"
c.UnsafeLocalBackend.clusters_directory = "{folder}/clusters"
c.Proxy.address = "127.0.0.1:{http}"
c.Proxy.tcp_address = "127.0.0.1:{tcp}"
c.Backend.cluster_options = Options(
    String("python", default="{python}"), handler=commands
)
c.ClusterConfig.scheduler_cores = 1
c.ClusterConfig.worker_memory = "1 G"
"""


@dataclass(frozen=True)
class Gateway:
    """A Gateway that is running."""

    address: str
    proxy_address: str
    log: Path

    def clusters(self) -> list[str]:
        """Return the names of the clusters that start, run or stop."""
        login = requests.auth.HTTPBasicAuth("alice", "s3cret")
        url = f"{self.address}/api/v1/clusters/?status=PENDING,RUNNING,STOPPING"
        return list(requests.get(url, auth=login, timeout=30).json())

    def until_empty(self, timeout: float = 60.0) -> None:
        """Wait until it has no cluster."""
        deadline = time.monotonic() + timeout
        while self.clusters():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            time.sleep(0.2)


@contextmanager
def gateway(folder: Path) -> Iterator[Gateway]:
    """Run a Gateway while the block lasts."""
    if find_spec("dask_gateway_server") is None:
        absent("no dask_gateway_server: it is in environment/test.lock")
    ports = {name: free_port() for name in ("server", "http", "tcp")}
    configuration = folder / "dask_gateway_config.py"
    text = CONFIGURATION.format(folder=folder, python=sys.executable, **ports)
    configuration.write_text(text)
    command = [sys.executable, "-m", "dask_gateway_server", "-f", str(configuration)]
    log = folder / "gateway.log"
    address = f"http://127.0.0.1:{ports['http']}"
    with running(command, log=log, environ={"HOME": str(folder)}) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise TimeoutError(log.read_text())
            time.sleep(0.1)
        yield Gateway(address, f"gateway://127.0.0.1:{ports['tcp']}", log)


def _answers(address: str) -> bool:
    """Tell whether the server, behind its proxy, answers."""
    try:
        return requests.get(f"{address}/api/version", timeout=10).ok
    except requests.ConnectionError:
        return False
