"""MLflow's page in JupyterLab: its server, started on demand and never left behind.

jupyter-server-proxy finds `page` by its entry point. What it starts keeps MLflow's
server in a process group of its own, and ends that group when JupyterLab ends.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from casa_env.models.mlflow import artifact_folder, is_server, tracking_uri
from casa_env.settings import load_settings
from casa_env.settings.places import own_folder

#: How long the server may take to be ready: a first start makes the database, and was
#: seen to take a minute on a loaded machine. In seconds.
START_S: Final = 180.0


def page() -> dict[str, Any]:
    """Return the page as jupyter-server-proxy wants it: of the runs in one's home.

    At a facility with a tracking server there is no tile: that server has its page.

    MLflow refuses requests whose ``Host`` is not this machine, against DNS rebinding,
    and writing ones whose ``Origin`` is another page's, against forged requests. Both
    checks stay on. Behind a hub the browser names the hub, so ``Host`` becomes what the
    server takes for itself; and `_vouch` for the origins that are the hub's. The server
    has no login, so it listens on a socket in a folder that only its user may enter.
    """
    here = not is_server(tracking_uri(load_settings()))
    return {
        "command": [sys.executable, "-P", "-m", __name__, "{unix_socket}"],
        "unix_socket": True,
        "timeout": START_S if here else 1.0,
        "new_browser_tab": False,
        "request_headers_override": {"Host": "127.0.0.1"},
        # of all that an entry point can give, 4.6 shows only this the request
        "update_last_activity": _vouch,
        "launcher_entry": {
            "enabled": here,
            "title": "MLflow",
            "category": "Notebook",  # JupyterLab shows no icon of ours in others
            "icon_path": str(Path(__file__).with_name("mlflow.svg")),
        },
    }


def _vouch(handler: Any) -> bool:  # noqa: ANN401 - jupyter-server-proxy is untyped
    """Make an ``Origin`` that is the host which the browser asked MLflow's own."""
    headers = handler.request.headers
    origin = urlsplit(headers.get("Origin", "")).netloc
    if origin and origin.lower() == headers.get("Host", "").lower():
        headers["Origin"] = "http://127.0.0.1"
    return True  # who looks at the page is active


def serve(socket: Path) -> int:
    """Run MLflow's server on a socket until it, or whoever started this, ends."""
    parent, uri = os.getppid(), tracking_uri(load_settings())
    command = [sys.executable, "-P", "-m", "mlflow", "server", "--workers", "1"]
    command += ["--uvicorn-opts", f"--uds {shlex.quote(str(socket))}"]
    command += ["--backend-store-uri", uri]
    if folder := artifact_folder(uri):
        own_folder(folder)
        command += ["--default-artifact-root", folder.as_uri()]
    environ = {
        "MLFLOW_SERVER_X_FRAME_OPTIONS": "SAMEORIGIN",  # inside JupyterLab's own page
        **os.environ,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # nine processes for nobody here
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONSAFEPATH": "1",  # for the Python that MLflow starts in turn
    }
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: stopping.append(number))
    server = subprocess.Popen(command, env=environ, start_new_session=True)  # noqa: S603 - our own words
    while server.poll() is None and not stopping and os.getppid() == parent:
        time.sleep(0.5)
    status = server.poll()
    with contextlib.suppress(ProcessLookupError):  # all of its group have ended
        os.killpg(server.pid, signal.SIGTERM)
        for _ in range(50):
            time.sleep(0.1)
            server.poll()  # or the group's leader would stay as a zombie
            os.killpg(server.pid, 0)
        os.killpg(server.pid, signal.SIGKILL)
    socket.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the proxy made it, and leaves it
        socket.parent.rmdir()
    return status or 0


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1])))
