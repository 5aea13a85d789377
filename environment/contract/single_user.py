"""A single-user server under a hub that is played here."""

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

#: Whom the server is started for, and where the hub puts it.
USER: Final = "casa"
PREFIX: Final = f"/user/{USER}/"

#: How long a server may take to answer (a first start reads cold files), and to stop.
START_S, STOP_S = 60.0, 15.0


@dataclass(kw_only=True)
class SingleUser:
    """A server, and why it does not answer if it does not."""

    port: int
    token: str = field(repr=False)
    variables: dict[str, str] = field(repr=False)
    problem: str = ""

    def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Ask for a path below its prefix; return status, headers, body."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=START_S)
        try:
            headers = {"Authorization": f"token {self.token}"}
            connection.request("GET", PREFIX + path, headers=headers)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, names, answer.read()
        except HTTPException as err:
            raise OSError(repr(err)) from err
        finally:
            connection.close()


@contextlib.contextmanager
def single_user_server(command: Sequence[str], version: str) -> Iterator[SingleUser]:
    """Start a server as a hub of this version does; wait until it answers or ends."""
    with socket.socket() as probe:
        probe.bind(("0.0.0.0", 0))  # noqa: S104 - the server will listen there too
        port = int(probe.getsockname()[1])
    token = secrets.token_hex(16)
    hub = ThreadingHTTPServer(("127.0.0.1", 0), _hub(token, version))
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    variables = _variables(hub.server_port, port, token)
    server = SingleUser(port=port, token=token, variables=variables)
    process = None
    with tempfile.TemporaryFile() as log, hub:
        try:
            process = subprocess.Popen(  # noqa: S603 - the administrator's words
                list(command),
                env={**os.environ, **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            server.problem = _waited(server, process)
        except OSError as err:
            reason = err.strerror or err
            server.problem = f"`{' '.join(command)}` cannot be started: {reason}"
        if server.problem:
            log.seek(0)
            lines = log.read().decode(errors="replace").strip().splitlines()
            server.problem += "".join(f"\n    {line[:200]}" for line in lines[-5:])
        try:
            yield server
        finally:
            if process is not None:
                _stop(process)
            hub.shutdown()


def _waited(server: SingleUser, process: subprocess.Popen[bytes]) -> str:
    """Wait until a server answers; return why it does not, empty where it does."""
    deadline, reason = time.monotonic() + START_S, "nothing listens"
    while time.monotonic() < deadline:
        if (code := process.poll()) is not None:
            return f"it ended with status {code}"
        try:
            status, _, _ = server.get("api/status")
        except OSError as err:
            reason = (err.strerror or str(err)).lower()
        else:
            if status == 200:
                return ""
            reason = f"it answers {status}"
        time.sleep(0.2)
    return f"after {START_S:g} s: {reason}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a server as a hub does, then kill what is left of its group."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(STOP_S)


def _variables(hub_port: int, port: int, token: str) -> dict[str, str]:
    """Return what JupyterHub 6 tells a server (``Spawner.get_env``)."""
    hub = f"http://127.0.0.1:{hub_port}/hub/"
    access = "access:servers!"
    scopes = json.dumps([f"{access}server={USER}/", f"{access}user={USER}"])
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


def _hub(token: str, version: str) -> type[BaseHTTPRequestHandler]:
    """Return what answers as a hub that knows one user, by one token."""
    user = {"kind": "user", "name": USER, "admin": False, "groups": []}
    user |= {"scopes": [f"access:servers!user={USER}"], "session_id": None}

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            about_user = self.path.rstrip("/").endswith("/user")
            known = self.headers["Authorization"] == f"token {token}"
            body = json.dumps(user if about_user else {"version": version}).encode()
            self.send_response(200 if known or not about_user else 403)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if version:
                self.send_header("X-JupyterHub-Version", version)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    return Hub
