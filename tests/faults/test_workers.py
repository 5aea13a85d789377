"""Faults of clusters: other users of the machine, sleep, and what batch systems say."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from distributed import LocalCluster

from casa_env import dask_client, dask_cluster
from casa_env.workers.tls import sessions_folder
from support.strangers import NOBODY, answers

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


#: A page of a user who is not root: who of three users is answered, and that nobody is
#: whose connection has ended, when Linux shows it as root's.
NOT_ROOT = """
import asyncio, contextlib, os, socket
from types import SimpleNamespace
from tornado import httpserver, netutil, web
from casa_env.workers.own_page import keep_others_out
asked = []
class Page(web.RequestHandler):
    def get(self):
        asked.append(self.request.path)
async def main(address, family):
    server = httpserver.HTTPServer(web.Application([("/.*", Page)]))
    sockets = netutil.bind_sockets(0, address, family=family)
    server.add_sockets(sockets)
    server.address = address
    keep_others_out(SimpleNamespace(http_server=server))
    for uid in (65533, 0, 65534):
        os.seteuid(0)
        os.seteuid(uid)
        asking = socket.create_connection(sockets[0].getsockname()[:2])
        os.seteuid(0)
        os.seteuid(65533)
        asking.sendall(b"GET /%d HTTP/1.0\\r\\n\\r\\n" % uid)
        with contextlib.suppress(ConnectionError):
            await asyncio.to_thread(asking.recv, 99)
        asking.close()
    ended = socket.create_connection(sockets[0].getsockname()[:2])
    ended.sendall(b"GET /ended HTTP/1.0\\r\\n\\r\\n")
    ended.close()
    await asyncio.sleep(0.5)
    server.stop()
asyncio.run(main("127.0.0.1", socket.AF_INET))
asyncio.run(main("::1", socket.AF_INET6))
print(asked)
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
    "security", "another user opens a local cluster's dashboard", "no answer"
)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as a second user")
@pytest.mark.filterwarnings(
    "ignore:Couldn't detect a suitable IP address:RuntimeWarning"
)
@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.parametrize("start", [dask_client, dask_cluster])
def test_another_user_of_the_machine_sees_no_dashboard(
    start: Callable[..., Any], *, processes: bool
) -> None:
    # An option of the scheduler does not take the protection away.
    more = {"scheduler_kwargs": {"transition_counter_max": 10**9}}
    with start(workers=1, processes=processes, **more) as started:
        cluster = getattr(started, "cluster", started)
        port = cluster.scheduler.http_server.port
        assert answers(0, port) == {"200"}
        assert answers(NOBODY, port) == {""}
        with LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as bare:
            more_than_dasks = {*cluster.scheduler.extensions} ^ {
                *bare.scheduler.extensions
            }
    assert more_than_dasks == {"own-page"}


@pytest.mark.fault(
    "security", "a user who is not root opens the own dashboard", "an answer"
)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as a second user")
def test_a_page_answers_its_user_and_root_and_no_connection_that_has_ended() -> None:
    done = python(NOT_ROOT)
    assert done.stdout == f"{['/65533', '/0'] * 2}\n", done.stderr


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


def listening() -> set[tuple[str, int]]:
    """Return where this process and those that it started listen: host and port."""
    here = psutil.Process()
    return {
        (connection.laddr.ip, connection.laddr.port)
        for process in (here, *here.children(recursive=True))
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }


@pytest.mark.fault(
    "security", "a scan for open ports of a local cluster", "loopback only, and TLS"
)
@pytest.mark.parametrize("processes", [True, False])
@pytest.mark.filterwarnings(
    "ignore:Couldn't detect a suitable IP address:RuntimeWarning"
)
def test_nothing_of_a_local_cluster_listens_beyond_loopback(*, processes: bool) -> None:
    before = listening()  # the services of other tests
    with dask_client(workers=1, processes=processes) as client:
        scheme = "tls://" if processes else "inproc://"
        assert client.scheduler.address.startswith(scheme)
        assert {host for host, _ in listening() - before} == {"127.0.0.1"}


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
