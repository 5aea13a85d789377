"""MLflow's page in JupyterLab: its server, started on demand and never left behind.

``python -m casa_env.mlflow_ui PORT`` is what JupyterLab starts: it keeps MLflow's
server in a process group of its own and ends the group with itself, and itself with
JupyterLab, however that ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from casa_env.models.mlflow import artifact_folder, is_server, tracking_uri
from casa_env.settings import Settings, load_settings

if TYPE_CHECKING:
    from jupyter_server_proxy.config import ServerProcess

__all__ = ["mlflow_proxy", "serve", "server_command"]

#: What the page is called in JupyterLab's URLs.
NAME: Final = "mlflow"

#: How long the server may take to be ready: a first start makes the database, and was
#: seen to take a minute on a loaded machine.
START_S: Final = 180

#: How often to look whether JupyterLab is still there, and how long the server may
#: take to end.
LOOK_S: Final = 0.5
STOP_S: Final = 5.0


def mlflow_proxy(settings: Settings | None = None) -> ServerProcess | None:
    """Return how jupyter-server-proxy is to serve MLflow's page.

    On a laptop and on Binder the page shows what is in the user's home. At a facility
    with a tracking server there is none here: that server has its own page.

    Parameters
    ----------
    settings
        Settings to use; by default those of this place.

    Returns
    -------
    jupyter_server_proxy.config.ServerProcess or None
        An entry for ``ServerProxy.servers``.

    Notes
    -----
    MLflow refuses requests whose ``Host`` is not this machine, against DNS rebinding,
    and writing ones whose ``Origin`` is another page's, against forged requests. Both
    checks stay on. Behind a hub the browser names the hub, so the ``Host`` becomes the
    one that the server listens on; and an ``Origin`` becomes MLflow's own only if it is
    the host that the browser asked. Any other reaches MLflow as it is, and is refused.
    """
    from jupyter_server_proxy.config import ServerProcess

    settings = settings or load_settings()
    if is_server(tracking_uri(settings)):
        return None

    class MlflowPage(ServerProcess):  # type: ignore[misc] # untyped
        def make_proxy_handler(self) -> tuple[type | None, dict[str, Any]]:
            handler, options = super().make_proxy_handler()

            class MlflowHandler(handler):  # type: ignore[misc,valid-type] # made at run time
                def proxy_request_headers(self) -> Any:  # noqa: ANN401 - tornado's
                    headers = super().proxy_request_headers()
                    here = f"127.0.0.1:{self.port}"
                    origin = headers.get("Origin", "")
                    asked = headers.get("Host", "")
                    if origin and urlsplit(origin).netloc.lower() == asked.lower():
                        headers["Origin"] = f"http://{here}"
                    headers["Host"] = here
                    return headers

            return MlflowHandler, options

    return MlflowPage(
        name=NAME,
        command=[sys.executable, "-m", "casa_env.mlflow_ui", "{port}"],
        timeout=START_S,
        new_browser_tab=False,
        launcher_entry={
            "title": "MLflow",
            "category": "Other",
            "icon_path": str(Path(__file__).with_name("mlflow_ui.svg")),
        },
    )


def server_command(uri: str, port: int) -> list[str]:
    """Return the command that starts MLflow's server on loopback.

    Parameters
    ----------
    uri
        The store, as `casa_env.models.mlflow.tracking_uri` gives it.
    port
        A free port.
    """
    folder = artifact_folder(uri)
    artifacts = ["--default-artifact-root", folder.as_uri()] if folder else []
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1"),
        *("--port", str(port), "--workers", "1", "--backend-store-uri", uri),
        *artifacts,
    ]


def server_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables of MLflow's server.

    Parameters
    ----------
    environ
        The environment variables there are; left as they are.

    Returns
    -------
    dict
        A copy, without MLflow's job runner (nine processes that nobody here needs) and
        without its telemetry.
    """
    switches = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    # A page inside JupyterLab's own page, which is the same origin.
    return {"MLFLOW_SERVER_X_FRAME_OPTIONS": "SAMEORIGIN", **environ, **switches}


def serve(port: int) -> int:
    """Run MLflow's server until it, or whoever started this process, ends.

    Parameters
    ----------
    port
        Where to listen, on loopback.

    Returns
    -------
    int
        The server's exit status; 0 if it was stopped.
    """
    parent = os.getppid()
    uri = tracking_uri(load_settings())
    folder = artifact_folder(uri)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    with subprocess.Popen(  # noqa: S603 - our own words
        server_command(uri, port),
        env=server_environment(os.environ),
        start_new_session=True,
    ) as server:
        while server.poll() is None and not stopping and os.getppid() == parent:
            time.sleep(LOOK_S)
        ended = server.poll()
        _end_group(server)
    return ended or 0


def _end_group(server: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started."""
    for number, patience in ((signal.SIGTERM, STOP_S), (signal.SIGKILL, STOP_S)):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            server.poll()  # or the group's leader would stay as a zombie
            try:
                os.killpg(server.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(LOOK_S / 5)


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])))
