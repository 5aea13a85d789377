"""Faults of services: what stands between us and a server that is up."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from casa_env import Settings
from casa_env.errors import TrackingError
from casa_env.models.mlflow import connect
from support.certificates import Authority

PASSWORD = "not-for-others"  # noqa: S105 - made up
BASIC = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()

EXPERIMENT = {
    "experiment_id": "0",
    "name": "Default",
    "lifecycle_stage": "active",
    "artifact_location": "mlflow-artifacts:/0",
}


@contextmanager
def mlflow_server(let_in: str = "", tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer as far as MLflow's first questions go; know who is let in."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == let_in or not let_in
            about = json.dumps({"experiment": EXPERIMENT} if known else {})
            body = "3.4.0" if self.path == "/version" else about
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        if tls is not None:
            running.socket = tls.wrap_socket(running.socket, server_side=True)
        threading.Thread(target=running.serve_forever, daemon=True).start()
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{running.server_port}"
        running.shutdown()


def default_experiment(uri: str) -> str:
    found = connect(Settings(mlflow_uri=uri)).get_experiment_by_name("Default")
    assert found is not None
    return str(found.name)


@pytest.mark.parametrize(
    ("variables", "let_in"),
    [
        pytest.param(
            variables,
            let_in,
            marks=pytest.mark.fault(
                "refused", f"MLflow wants {what}, given by its own variables", "let in"
            ),
        )
        for what, variables, let_in in [
            ("a password", {"USERNAME": "alice", "PASSWORD": PASSWORD}, BASIC),
            ("a token", {"TOKEN": PASSWORD}, f"Bearer {PASSWORD}"),
        ]
    ],
)
def test_mlflows_own_variables_let_us_in(
    variables: dict[str, str], let_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mlflow_server(let_in) as uri:
        for name, value in variables.items():
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
        assert default_experiment(uri) == "Default"
        for name in variables:
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", "wrong-" + PASSWORD)
        with pytest.raises(TrackingError, match="refused us") as caught:
            default_experiment(uri)
    assert PASSWORD not in str(caught.value)


def insecure(_: Authority) -> dict[str, str]:
    return {"INSECURE_TLS": "true"}


def trusting(authority: Authority) -> dict[str, str]:
    return {"SERVER_CERT_PATH": str(authority.file)}


def certified(authority: Authority) -> dict[str, str]:
    files = authority.issue("alice")
    both = authority.file.with_name("alice.pem")
    both.write_text(files.cert.read_text() + files.key.read_text())
    return trusting(authority) | {"CLIENT_CERT_PATH": str(both)}


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param(
            variables,
            marks=[
                pytest.mark.fault(
                    "refused", f"MLflow's own variables say: {what}", "TLS as they say"
                ),
                pytest.mark.filterwarnings("ignore:Unverified HTTPS"),  # as asked for
            ],
        )
        for what, variables in [
            ("any certificate will do", insecure),
            ("this authority is right", trusting),
            ("this is our certificate", certified),
        ]
    ],
)
def test_mlflows_own_variables_say_which_certificates_hold(
    variables: Callable[[Authority], dict[str, str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = Authority(tmp_path, "site")
    files = authority.issue("server")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(files.cert, files.key)
    if variables is certified:
        tls.load_verify_locations(authority.file)
        tls.verify_mode = ssl.CERT_REQUIRED
    with mlflow_server(tls=tls) as uri:
        with pytest.raises(TrackingError, match=r"(?i)certificate.verify.failed"):
            default_experiment(uri)
        for name, value in variables(authority).items():
            monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
        assert default_experiment(uri) == "Default"
