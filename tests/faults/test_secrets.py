"""Faults of secrets: where a token could go, and where a password could be seen."""

from __future__ import annotations

import asyncio
import pickle
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import fsspec
import mlflow as mlflow_itself
import pytest
from oauthenticator.generic import GenericOAuthenticator
from tornado.httpclient import HTTPClientError
from traitlets.config.loader import PyFileConfigLoader

from agc.errors import AnalysisError
from agc.inputs.rootfiles import load_arrays
from agc.ttbar.ml.model_store import SHIPPED_FOLDER, registered_models
from casa_env import Settings, load_settings
from casa_env.cli import main
from casa_env.doctor import servicex
from casa_env.errors import CasaEnvError, SettingsError, TrackingError
from casa_env.lab.extension import hub_token
from casa_env.models.mlflow import as_tracking_error, server_version
from support.processes import free_port
from support.webservers import Quiet, website

SECRET = "not-for-others"  # noqa: S105 - made up

#: URLs that hide a password or a token, at the front and further in.
URLS = [
    f"https://alice:{SECRET}@host/f.root",
    f"root://cache//https://alice:{SECRET}@host/f.root",
    f"root://cache//root://me@other//https://alice:{SECRET}@host/f.root?authz={SECRET}",
    f"https://host/f.root?authz={SECRET}",
]


@contextmanager
def server(code: int, location: str = "") -> Iterator[tuple[str, list[str]]]:
    """Answer every request in one way; give the URL, and which secrets arrived."""
    seen: list[str] = []

    class Server(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            seen.append(f"{self.headers['Authorization']} {body}")
            to = {"Location": location + self.path} if location else {}
            self.answer(code, b"{}", **to)

        do_POST = do_GET  # noqa: N815 - as http.server names it

    with website(Server) as url:
        yield url, seen


def hub(url: str, _: Path) -> None:
    environ = {"JUPYTERHUB_API_URL": url, "JUPYTERHUB_USER": "alice"}
    hub_token(environ | {"JUPYTERHUB_API_TOKEN": SECRET}, timeout=10)


def mlflow(url: str, _: Path) -> None:
    hosts = (url.removeprefix("http://"),)
    server_version(url, Settings(bearer_token=SECRET, token_hosts=hosts))


def login(url: str, _: Path) -> None:
    renewal = Path("environment/jupyterhub/token_renewal.py").resolve()
    config = PyFileConfigLoader(str(renewal)).load_config()
    provider = {"token_url": url, "userdata_url": url, "client_secret": SECRET}
    hub = GenericOAuthenticator(config=config, **provider)
    request = hub.build_refresh_token_request_params("a refresh token")
    answer = {"access_token": SECRET, "token_type": "bearer"}
    for asking in (hub.get_token_info(None, request), hub.token_to_user(answer)):
        with pytest.raises(HTTPClientError):
            asyncio.run(asking)


def refresh(url: str, folder: Path) -> None:
    (folder / "token").write_text(SECRET)
    settings = Settings(servicex_endpoint=url, servicex_token_file=folder / "token")
    check = servicex(settings)
    assert SECRET not in check.evidence


def servicex_token(url: str, _: Path) -> None:
    hosts = (url.removeprefix("http://"),)
    servicex(Settings(servicex_endpoint=url, bearer_token=SECRET, token_hosts=hosts))


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(
            ask,
            marks=pytest.mark.fault(
                "security",
                f"{who} redirects us to another host",
                "no secret goes there",
            ),
        )
        for ask, who in [
            (hub, "the hub"),
            (login, "the provider, when the hub asks for a user's token,"),
            (mlflow, "an MLflow server"),
            (refresh, "ServiceX, asked with the refresh token,"),
            (servicex_token, "ServiceX, asked with the bearer token,"),
        ]
    ],
)
def test_a_secret_does_not_follow_a_redirect(
    ask: Callable[[str, Path], None], code: int, tmp_path: Path
) -> None:
    with ExitStack() as both:
        other, arrived = both.enter_context(server(200))
        url, asked = both.enter_context(server(code, location=other))
        with suppress(CasaEnvError):
            ask(url, tmp_path)
    assert SECRET in asked[0]
    assert SECRET not in " ".join(arrived)


@pytest.mark.fault(
    "security", "a URL with a password is shown by casa-env xcache", "***"
)
@pytest.mark.parametrize("url", URLS)
def test_no_url_is_shown_with_its_secrets(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_XCACHE_URL", f"root://me:{SECRET}@cache")
    main(["xcache", url])
    shown = capsys.readouterr().out
    assert "***" in shown
    assert SECRET not in shown


@pytest.mark.fault("security", "a library's error quotes such a URL", "***")
@pytest.mark.parametrize("url", URLS)
def test_no_error_shows_a_urls_secrets(url: str) -> None:
    with (
        pytest.raises(TrackingError, match=r"\*\*\*") as caught,
        as_tracking_error("No run", url),
    ):
        raise OSError(f"the request to {url} failed")  # noqa: EM102, TRY003 - as MLflow
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert SECRET not in f"{again} {again.args} {caught.value!r}"
    assert "failed" in str(again)


def failover(url: str, _: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("failover").size(f"failover://{url}|{url}")


def several(url: str, _: pytest.MonkeyPatch) -> None:
    load_arrays(f"failover://{url}|{url}", "Events", {"run": "uint32"})


def one(url: str, _: pytest.MonkeyPatch) -> None:
    load_arrays(url, "Events", {"run": "uint32"})


def runs(url: str, _: pytest.MonkeyPatch) -> None:
    server_version(url, Settings(timeout_s=5.0))


def models(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow_itself.get_tracking_uri()
    mlflow_itself.set_tracking_uri(url)
    try:
        registered_models(SHIPPED_FOLDER / "recipe.json")
    finally:
        mlflow_itself.set_tracking_uri(before)


@pytest.mark.fault(
    "security", "the cause below an error holds such a URL", "no traceback shows it"
)
@pytest.mark.parametrize(
    ("use", "code"),
    [
        *((use, code) for use in (failover, several) for code in (0, 404, 500)),
        *((one, code) for code in (0, 404)),
        *((use, 0) for use in (runs, models)),
    ],
)
def test_no_traceback_shows_a_urls_secrets(
    use: Callable[[str, pytest.MonkeyPatch], None],
    code: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ExitStack() as stack:
        up = stack.enter_context(server(code))[0] if code else ""
        host = up.removeprefix("http://") or f"localhost:{free_port()}"
        with pytest.raises((OSError, AnalysisError, CasaEnvError)) as caught:
            use(f"http://alice:{SECRET}@{host}/f.root?authz={SECRET}", monkeypatch)
    shown = "".join(traceback.format_exception(caught.value))
    assert "localhost" in shown
    assert SECRET not in shown


@pytest.mark.fault("security", "settings with secrets are pickled", "refused, and why")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bearer_token", SECRET),
        ("s3_access_key", SECRET),
        ("s3_secret_key", SECRET),
        *(("mlflow_uri", url) for url in URLS),
    ],
)
def test_settings_with_a_secret_are_not_pickled(name: str, value: str) -> None:
    settings = load_settings(**{name: value})
    with pytest.raises(SettingsError, match=name) as caught:
        pickle.dumps(settings)
    assert SECRET not in str(caught.value)
