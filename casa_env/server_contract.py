"""The contract's checks of the server: it starts, listens, and shows dashboards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

from casa_env.checks import Check, Status
from casa_env.network import tcp_problem
from casa_env.single_user import SingleUser, hub_environment

__all__ = ["dashboards", "entrypoint", "hub", "ports"]

#: Loopback, but not the address that a server which listens on loopback alone has.
OTHER_LOOPBACK: Final = "127.0.0.2"

#: Starts a cluster, prints where its dashboard listens and its link, waits for the end.
CLUSTER: Final = """
import json, sys
from casa_env import dask_cluster
with dask_cluster(backend="local", processes=False, workers=1, threads=1) as cluster:
    port = cluster.scheduler.services["dashboard"].port
    print(json.dumps([port, cluster.dashboard_link]), flush=True)
    sys.stdin.read()
"""


def entrypoint(problem: str, *, words: Sequence[str], took: float) -> Check:
    """Check that what the hub starts, through the image's entrypoint, answers.

    Parameters
    ----------
    problem
        Why the server does not answer; empty where it does.
    words
        The entrypoint, for the evidence.
    took
        How long it took until the server answered, in seconds.

    Notes
    -----
    Process 1 of a container has to reap orphans (``wait(2)``), which shells and Python
    do not: what notebooks leave behind would fill the table of processes.
    """
    through = f"`{' '.join(words)}`" if words else "no entrypoint"
    if problem:
        return Check(
            name="entrypoint",
            status=Status.FAILED,
            evidence=f"through {through} no server answers: {problem}",
            next_step='Let the entrypoint end in exec "$@", and install jupyterhub.',
        )
    evidence = f"through {through} the server answers after {took:.1f} s"
    if not _orphan_is_reaped():
        return Check(
            name="entrypoint",
            status=Status.FAILED,
            evidence=f"{evidence}, but process 1 does not reap orphans",
            next_step="Start through tini, as in ENTRYPOINT [tini, -g, --].",
        )
    return Check(name="entrypoint", status=Status.OK, evidence=evidence)


def ports(server: SingleUser, *, timeout: float) -> Check:
    """Check that the server listens where the hub said, and not on loopback alone."""
    where = f"the hub asked for port {server.port} on all interfaces"
    outside = tcp_problem(OTHER_LOOPBACK, server.port, timeout=timeout)
    inside = tcp_problem("127.0.0.1", server.port, timeout=timeout)
    if not outside:
        return Check(
            name="ports", status=Status.OK, evidence=f"{where}: it listens there"
        )
    found = "it listens on loopback alone" if not inside else "nothing listens there"
    return Check(
        name="ports",
        status=Status.FAILED,
        evidence=f"{where}: {found}",
        next_step="Remove ip and port from the image's Jupyter configuration and from "
        "what wraps jupyterhub-singleuser: the hub decides both.",
    )


def hub(server: SingleUser, *, version: str, timeout: float) -> Check:
    """Compare the server's JupyterHub with the hub's: one major version.

    Parameters
    ----------
    server
        The server.
    version
        The hub's version; empty where it is not known.
    timeout
        How long to wait, in seconds.

    Notes
    -----
    ``jupyterhub._version._check_version``: minor versions may differ.
    """
    try:
        _, headers, _ = server.get("api/status", timeout=timeout)
    except OSError as err:
        headers = {"error": str(err)}
    ours = headers.get("x-jupyterhub-version", "")
    if not ours:
        return Check(
            name="hub",
            status=Status.FAILED,
            evidence="the server says no version of JupyterHub",
            next_step="Let the hub start jupyterhub-singleuser.",
        )
    if not version:
        return Check(
            name="hub",
            status=Status.OFF,
            evidence=f"the server has JupyterHub {ours}; the hub's is not known",
            next_step="Give it with --hub-version.",
        )
    same = _major(ours) == _major(version)
    return Check(
        name="hub",
        status=Status.OK if same else Status.FAILED,
        evidence=f"the server has JupyterHub {ours}, the hub {version}",
        next_step="" if same else "Use an image and a hub of one major version.",
    )


def dashboards(
    server: SingleUser, *, environ: Mapping[str, str], timeout: float
) -> Check:
    """Check that a cluster's dashboard is linked, and shown, through the server.

    Parameters
    ----------
    server
        The server.
    environ
        The environment variables there are.
    timeout
        How long the cluster and the page may take each, in seconds.
    """
    variables = hub_environment(0, server.port, server.token)
    process = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", CLUSTER],
        env={**environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line:
            return _no_dashboard("a cluster with a dashboard did not start")
        port, link = json.loads(line)
        expected = f"{variables['JUPYTERHUB_SERVICE_PREFIX']}proxy/{port}/status"
        if link != expected:
            return _no_dashboard(f"Dask links to {link}, not to {expected}")
        status, _, body = server.get(f"proxy/{port}/status", timeout=timeout)
        if status != 200 or b"bokeh" not in body.lower():  # noqa: PLR2004 - HTTP's OK
            return _no_dashboard(f"{expected} answers {status}")
        evidence = f"{expected} shows Dask's dashboard"
        return Check(name="dashboards", status=Status.OK, evidence=evidence)
    except OSError as err:
        return _no_dashboard(f"the server does not answer: {err}")
    finally:
        process.kill()
        process.communicate()


def _no_dashboard(problem: str) -> Check:
    """Return the check of dashboards that do not come through the server."""
    return Check(
        name="dashboards",
        status=Status.FAILED,
        evidence=problem,
        next_step="Install bokeh and jupyter-server-proxy, and set Dask's "
        "distributed.dashboard.link to {JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status.",
    )


def _orphan_is_reaped() -> bool:
    """Leave an orphan behind that ends at once; tell whether process 1 reaped it."""
    program = "import os\nif (child := os.fork()): print(child, flush=True)"
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-S", "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    orphan = int(done.stdout)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(orphan, 0)
        except (ProcessLookupError, PermissionError):
            return True
        time.sleep(0.05)
    return False


def _major(version: str) -> str:
    """Return a version's first number."""
    found = re.match(r"\d+", version)
    return found[0] if found else version
