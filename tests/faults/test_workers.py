"""Faults of clusters: other users of the machine, sleep, and what batch systems say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from casa_env import dask_client

if TYPE_CHECKING:
    import distributed

#: What another user of the machine tries, given the scheduler's public port.
ATTACK = """
import os, sys, distributed
stranger = distributed.Security.temporary()
os.setgroups([]), os.setgid(65534), os.setuid(65534)
for scheme in ("tcp", "tls"):
    try:
        security = stranger if scheme == "tls" else distributed.Security()
        address = f"{scheme}://127.0.0.1:{sys.argv[1]}"
        with distributed.Client(address, timeout=3, security=security) as client:
            print("joined", client.run_on_scheduler(lambda: 1))
    except OSError as err:
        print("refused", scheme)
"""


@pytest.mark.fault(
    "security", "another user connects to a local cluster", "the scheduler refuses"
)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as a second user")
def test_another_user_of_the_machine_cannot_join() -> None:
    with dask_client(workers=1) as client:
        port = client.scheduler.address.rpartition(":")[2]
        done = subprocess.run(
            [sys.executable, "-c", ATTACK, port],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd="/",
        )
        assert done.stdout.split() == ["refused", "tcp", "refused", "tls"], done.stderr
        assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.fault(
    "security", "a scan for open ports of a local cluster", "loopback only, and TLS"
)
@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.filterwarnings(
    "ignore:Couldn't detect a suitable IP address:RuntimeWarning"
)
def test_nothing_of_a_local_cluster_listens_beyond_loopback(*, processes: bool) -> None:
    with dask_client(workers=1, processes=processes) as client:
        scheme = "tls://" if processes else "inproc://"
        assert client.scheduler.address.startswith(scheme)
        here = psutil.Process()
        listening = [
            connection.laddr.ip
            for process in (here, *here.children(recursive=True))
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        ]
        assert set(listening) == {"127.0.0.1"}


@pytest.mark.fault("lost", "a laptop sleeps for hours", "workers and data are kept")
@pytest.mark.filterwarnings(
    "ignore:Couldn't detect a suitable IP address:RuntimeWarning"
)
def test_workers_that_were_silent_as_long_as_a_laptop_sleeps_are_kept() -> None:
    with dask_client(workers=1, processes=False) as client:
        [data] = client.scatter([[1, 2]])

        async def sleep(dask_scheduler: distributed.Scheduler) -> None:
            for worker in dask_scheduler.workers.values():
                worker.last_seen = time.time() - 12 * 3600
            if dask_scheduler.worker_ttl:
                await dask_scheduler.check_worker_ttl()

        client.run_on_scheduler(sleep)
        assert client.submit(sum, data).result() == 3
