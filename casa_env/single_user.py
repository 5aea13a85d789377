"""A single-user server under a hub that is played here: what a contract asks of it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

__all__ = ["SingleUser", "hub_environment", "single_user_server"]

#: Whom the server is started for, and where the hub puts it.
USER: Final = "casa"
PREFIX: Final = f"/user/{USER}/"

#: How often is looked whether the server answers, in seconds.
POLL_S: Final = 0.2

#: How long a server may take to stop before it is killed, in seconds.
STOP_S: Final = 15.0

#: How many of the last lines that a server wrote are shown.
LAST_LINES: Final = 5


@dataclass(frozen=True, kw_only=True)
class SingleUser:
    """A server that was started as a hub does."""

    port: int
    """The port that the hub asked for."""

    token: str
    """What opens the server, as the stand-in hub agrees."""

    log: Path
    """What the server writes."""

    process: subprocess.Popen[bytes]
    """The server, or what it was started through."""

    def get(self, path: str, *, timeout: float) -> tuple[int, dict[str, str], bytes]:
        """Ask the server on loopback, below its prefix.

        Parameters
        ----------
        path
            Below the prefix, such as ``"api/status"``.
        timeout
            How long to wait, in seconds.

        Returns
        -------
        tuple
            Status, headers in lower case, body.

        Raises
        ------
        OSError
            Nothing answers.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            headers = {"Authorization": f"token {self.token}"}
            connection.request("GET", PREFIX + path, headers=headers)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, names, answer.read()
        except HTTPException as err:
            msg = f"no HTTP: {err!r}"
            raise OSError(msg) from err
        finally:
            connection.close()

    def waited(self, *, timeout: float) -> str:
        """Wait until the server answers; return why it does not, empty where it does.

        Parameters
        ----------
        timeout
            How long to wait, in seconds.
        """
        deadline = time.monotonic() + timeout
        reason = "nothing listens"
        while time.monotonic() < deadline:
            if (code := self.process.poll()) is not None:
                return f"it ended with status {code}{self.last_words()}"
            try:
                status, _, _ = self.get("api/status", timeout=timeout)
            except OSError as err:
                reason = (err.strerror or str(err)).lower()
            else:
                if status == 200:  # noqa: PLR2004 - HTTP's OK
                    return ""
                reason = f"it answers {status}"
            time.sleep(POLL_S)
        return f"after {timeout:g} s: {reason}{self.last_words()}"

    def last_words(self) -> str:
        """Return the last lines that the server wrote, with a colon before them."""
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return "".join(f"\n    {line[:200]}" for line in lines[-LAST_LINES:])


@contextlib.contextmanager
def single_user_server(
    command: Sequence[str], *, hub_version: str = "", environ: Mapping[str, str]
) -> Iterator[SingleUser]:
    """Start a server as JupyterHub does, under a hub that is played here.

    Parameters
    ----------
    command
        The words that start it: the image's entrypoint, then what the hub starts.
    hub_version
        The version that the hub says it has; empty for none.
    environ
        The environment variables there are; the hub's are added.

    Raises
    ------
    OSError
        The command's program cannot be started.
    """
    token, port = secrets.token_hex(16), _free_port()
    hub = ThreadingHTTPServer(("127.0.0.1", 0), _handler(token, hub_version))
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(prefix="casa-env-") as folder:
        log = Path(folder) / "server.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - the administrator's words
                list(command),
                env={**environ, **hub_environment(hub.server_port, port, token)},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            yield SingleUser(port=port, token=token, log=log, process=process)
        finally:
            _stop(process)
            hub.shutdown()
            hub.server_close()


def hub_environment(hub_port: int, port: int, token: str) -> dict[str, str]:
    """Return the variables that JupyterHub gives to a server.

    Parameters
    ----------
    hub_port
        Where the hub listens on loopback.
    port
        Where the server is to listen, on all interfaces.
    token
        The server's own token.

    Notes
    -----
    ``jupyterhub.spawner.Spawner.get_env`` of JupyterHub 6.
    """
    hub = f"http://127.0.0.1:{hub_port}/hub/"
    scopes = json.dumps(
        [f"access:servers!server={USER}/", f"access:servers!user={USER}"]
    )
    return {
        "JPY_API_TOKEN": token,
        "JUPYTERHUB_ACTIVITY_URL": f"{hub}api/users/{USER}/activity",
        "JUPYTERHUB_API_TOKEN": token,
        "JUPYTERHUB_API_URL": f"{hub}api",
        "JUPYTERHUB_BASE_URL": "/",
        "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{USER}",
        "JUPYTERHUB_HOST": "",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES": scopes,
        "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{PREFIX}oauth_callback",
        "JUPYTERHUB_OAUTH_SCOPES": scopes,
        "JUPYTERHUB_SERVER_NAME": "",
        "JUPYTERHUB_SERVICE_PREFIX": PREFIX,
        "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:{port}{PREFIX}",
        "JUPYTERHUB_USER": USER,
    }


def _handler(token: str, version: str) -> type[BaseHTTPRequestHandler]:
    """Return what answers as a hub that knows one user, by one token."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            model: dict[str, object] = {"version": version}
            status = 200
            if self.path.rstrip("/").endswith("/user"):
                known = self.headers.get("Authorization") == f"token {token}"
                status = 200 if known else 403
                model = {
                    "kind": "user",
                    "name": USER,
                    "admin": False,
                    "groups": [],
                    "scopes": [f"access:servers!user={USER}"],
                    "session_id": None,
                }
            self._answer(status, model)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(200, {})

        def _answer(self, status: int, model: object) -> None:
            body = json.dumps(model).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if version:
                self.send_header("X-JupyterHub-Version", version)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet: the check's evidence is what is said."""

    return Hub


def _free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))  # noqa: S104 - the server will listen there too
        port: int = probe.getsockname()[1]
        return port


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server as a hub does, then kill what is left of its group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_S)
