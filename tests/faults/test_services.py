"""Faults of services: what stands between us and a server that is up."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from casa_env import load_settings, triton_client
from casa_env.doctor import mlflow as mlflow_check
from casa_env.doctor import s3, servicex
from casa_env.errors import TrackingError
from casa_env.lab.extension import hub_token
from casa_env.models.mlflow import connect
from casa_env.network import spare_loopback
from support.certificates import Authority
from support.processes import free_port
from support.webservers import Quiet, website

PASSWORD = "not-for-others"  # noqa: S105 - made up
BASIC = "Basic " + base64.b64encode(f"alice:{PASSWORD}".encode()).decode()

NO_BUCKETS = "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>"

EXPERIMENT = {
    "experiment_id": "0",
    "name": "Default",
    "lifecycle_stage": "active",
    "artifact_location": "mlflow-artifacts:/0",
}


@contextmanager
def mlflow_server(let_in: str = "", tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer as far as MLflow's first questions go; know who is let in."""

    class Server(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            known = self.headers["Authorization"] == let_in or not let_in
            about = json.dumps({"experiment": EXPERIMENT} if known else {})
            body = "3.4.0" if self.path == "/version" else about
            self.answer(200 if known else 401, body.encode())

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        if tls is not None:
            running.socket = tls.wrap_socket(running.socket, server_side=True)
        threading.Thread(target=running.serve_forever, daemon=True).start()
        scheme = "https" if tls else "http"
        yield f"{scheme}://127.0.0.1:{running.server_port}"
        running.shutdown()


def default_experiment(uri: str) -> str:
    found = connect(load_settings(mlflow_uri=uri)).get_experiment_by_name("Default")
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


def triton_answers() -> str:
    """Ask a server that knows no more of Triton than whether it is live."""
    import grpc
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc] # untyped
        def ServerLive(self, *_: object) -> object:  # noqa: N802 - Triton's
            return service_pb2.ServerLiveResponse(live=True)

    server = grpc.server(ThreadPoolExecutor(1))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Servicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        settings = load_settings(triton_url=f"grpc://127.0.0.1:{port}")
        client: Any = triton_client(settings)
        with contextlib.closing(client):
            return str(client.is_server_live(client_timeout=10))
    finally:
        server.stop(None)


def mlflow_answers() -> str:
    with mlflow_server() as uri:
        settings = load_settings(mlflow_uri=uri)
        assert mlflow_check(settings).status == "ok"
        return default_experiment(uri)


def servicex_answers() -> str:
    with answering('{"app-version": "1.2"}') as url:
        return servicex(load_settings(servicex_endpoint=url)).evidence


def hub_answers() -> str:
    with answering('{"auth_state": {"access_token": "abc"}}') as url:
        load_settings()
        environ = {"JUPYTERHUB_API_URL": url, "JUPYTERHUB_USER": "alice"}
        return hub_token(environ, timeout=10)


def bucket_answers() -> str:
    with answering(NO_BUCKETS) as url:
        key = {"s3_access_key": "alice", "s3_secret_key": PASSWORD}
        return s3(load_settings(s3_endpoint=url, s3_region="here", **key)).evidence


def answering(content: str) -> AbstractContextManager[str]:
    """Answer every request with the same."""

    class Server(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            self.answer(200, content.encode())

    return website(Server)


@pytest.fixture
def dead_proxy(monkeypatch: pytest.MonkeyPatch) -> str:
    """Name a proxy that is not there by all variables there are."""
    proxy = f"http://alice:{PASSWORD}@127.0.0.1:{free_port()}"
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, proxy)
        monkeypatch.setenv(name.upper(), proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "intranet.example.org")
    return proxy


@pytest.mark.usefixtures("dead_proxy")
@pytest.mark.parametrize(
    ("ask", "answer"),
    [
        pytest.param(
            ask,
            answer,
            marks=pytest.mark.fault(
                "refused", f"a dead proxy, and {what} on this machine", "it is asked"
            ),
        )
        for ask, answer, what in [
            (mlflow_answers, "Default", "MLflow"),
            (triton_answers, "True", "Triton"),
            (servicex_answers, "ServiceX 1.2", "ServiceX"),
            (hub_answers, "abc", "a hub"),
            (bucket_answers, "sees 0 buckets", "an object store"),
        ]
    ],
)
def test_loopback_never_goes_through_a_proxy(
    ask: Callable[[], str], answer: str
) -> None:
    assert answer in ask()
    assert os.environ["no_proxy"].split(",")[0] == "intranet.example.org"


@pytest.mark.fault("refused", "a dead proxy stands before MLflow", "it is named")
@pytest.mark.parametrize("ask", [default_experiment, "the doctor"])
def test_a_proxy_that_stands_in_the_way_is_named(
    dead_proxy: str, ask: Callable[[str], str] | str
) -> None:
    uri = "http://mlflow.example.org"
    if callable(ask):
        with pytest.raises(TrackingError, match=r"(?i)refused") as caught:
            ask(uri)
        shown = str(caught.value)
    else:
        shown = mlflow_check(load_settings(mlflow_uri=uri)).evidence
    assert (
        f"through the proxy {dead_proxy.replace(f'alice:{PASSWORD}', '***')}" in shown
    )
    assert "refused" in shown


@pytest.mark.parametrize(
    ("environ", "spared"),
    [
        ({}, None),
        ({"HTTP_PROXY": ""}, None),
        ({"HTTP_PROXY": "http://p"}, "localhost,127.0.0.1,::1"),
        ({"https_proxy": "p:1", "NO_PROXY": "a,b"}, "a,b,localhost,127.0.0.1,::1"),
        ({"ALL_PROXY": "socks5://p", "no_proxy": "*"}, "*"),
    ],
)
def test_what_no_proxy_says_is_kept(
    environ: dict[str, str], spared: str | None
) -> None:
    for _ in range(2):
        spare_loopback(environ)
        assert environ.get("no_proxy") == spared


@pytest.mark.fault(
    "refused", "a file of a site's Dask configuration is malformed", "it is named"
)
@pytest.mark.parametrize("start", ["dask_client", "dask_cluster"])
def test_a_malformed_file_of_dasks_configuration_is_named(
    start: str, tmp_path: Path
) -> None:
    (tmp_path / "site.yaml").write_text("jobqueue: [1\n")
    code = f"import casa_env\ntry: casa_env.{start}()\n"
    code += "except casa_env.CasaEnvError as err: print(err)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"DASK_CONFIG": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "looked at: while parsing a flow sequence" in done.stdout
    assert str(tmp_path / "site.yaml") in done.stdout


#: What starts a cluster on a machine that only knows itself, in a network of its own.
ALONE = """
hostname localhost && ip link set lo up && exec "$0" -W ignore -c '
import casa_env
try: casa_env.dask_cluster(backend="slurm")
except casa_env.CasaEnvError as err: print(err)
'
"""


@pytest.mark.fault(
    "stuck", "batch workers are told a loopback address", "said, with the interfaces"
)
@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a network")
def test_a_scheduler_that_no_other_machine_reaches_is_said(tmp_path: Path) -> None:
    for name, answer in (("sbatch", "Submitted batch job 7"), ("scancel", "")):
        called = f"touch {tmp_path / name}.called"
        (tmp_path / name).write_text(f"#!/bin/sh\n{called}\necho {answer}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["unshare", "--net", "--uts", "sh", "-c", ALONE, sys.executable],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert "interfaces: lo" in done.stdout, done.stderr
    assert "Set dask_interface" in done.stdout
    assert list(tmp_path.glob("*.called")) == []  # before there is a job
