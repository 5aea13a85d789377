"""Faults of clusters: other users of the machine, sleep, and what batch systems say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from casa_env import dask_client, dask_cluster
from casa_env.workers.tls import sessions_folder

if TYPE_CHECKING:
    from collections.abc import Callable

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


#: What an injected cell of JupyterLab's Dask panel does, given the address.
CELL = """
import sys, distributed
with distributed.Client(sys.argv[1]) as client:
    print(client.submit(sum, [1, 2]).result())
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd="/",
    )


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as a second user")
@pytest.mark.parametrize(
    "start",
    [
        pytest.param(
            dask_client,
            marks=pytest.mark.fault(
                "security",
                "another user connects to a local cluster",
                "the scheduler refuses",
            ),
        ),
        pytest.param(
            dask_cluster,
            marks=pytest.mark.fault(
                "security",
                "another user connects to a cluster of JupyterLab's panel",
                "the scheduler refuses",
            ),
        ),
    ],
)
def test_another_user_of_the_machine_cannot_join(
    start: Callable[..., Any],
) -> None:
    with start(workers=1) as started:
        scheduler = getattr(started, "cluster", started)
        port = scheduler.scheduler_address.rpartition(":")[2]
        done = python(ATTACK, port)
        assert done.stdout.split() == ["refused", "tcp", "refused", "tls"], done.stderr


@pytest.mark.fault(
    "security", "another process has a cluster's address only", "its user's own joins"
)
def test_the_users_own_processes_find_a_clusters_certificate_by_its_address() -> None:
    with dask_cluster(workers=1) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        done = python(CELL, cluster.scheduler_address)
        assert done.stdout == "3\n", done.stderr
        for keys in sessions_folder().glob("*/tls/key.pem"):
            assert keys.stat().st_mode & 0o77 == 0
            assert sessions_folder().stat().st_mode & 0o77 == 0
    assert list(sessions_folder().glob("*/*")) == []


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
