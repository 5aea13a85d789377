"""The token that a hub keeps, as a file: whole, private, and only when it changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from casa_env.errors import CredentialsError
from casa_env.lab.extension import hub_token, keep_token, write_token
from casa_env.settings import load_settings


@pytest.fixture
def answers() -> list[Any]:
    """Return what the hub answers, the last one for ever."""
    return [{"auth_state": {"access_token": "first"}}]


@pytest.fixture
def environ(answers: list[Any]) -> Iterator[dict[str, str]]:
    """Answer as a hub does; return the variables of a server below it."""

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == "token server"
            known = known and self.path == "/hub/api/users/alice"
            body = json.dumps(answers.pop(0) if len(answers) > 1 else answers[0])
            self.send_response(200 if known else 403)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {
            "JUPYTERHUB_API_TOKEN": "server",
            "JUPYTERHUB_API_URL": f"http://127.0.0.1:{server.server_port}/hub/api",
            "JUPYTERHUB_USER": "alice",
        }
        server.shutdown()


def test_the_hub_is_asked_for_its_users_token(environ: dict[str, str]) -> None:
    assert hub_token(environ, timeout=10) == "first"


@pytest.mark.parametrize("login", [{}, {"auth_state": None}, {"auth_state": {}}, []])
def test_a_login_without_a_token_is_an_error(
    environ: dict[str, str], answers: list[Any], login: object
) -> None:
    answers[:] = [login]
    with pytest.raises(CredentialsError):
        hub_token(environ, timeout=10)


def test_a_hub_that_refuses_is_an_error_without_a_secret(
    environ: dict[str, str],
) -> None:
    with pytest.raises(CredentialsError, match="403") as caught:
        hub_token(environ | {"JUPYTERHUB_API_TOKEN": "no-such-token"}, timeout=10)
    assert "no-such-token" not in str(caught.value)


def test_where_there_is_no_hub_that_is_said() -> None:
    with pytest.raises(CredentialsError, match="no hub to ask"):
        hub_token({}, timeout=1)


def test_the_file_is_private_whole_and_written_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "run" / "token"
    assert write_token("first", path)
    assert not write_token("first", path)
    assert write_token("second", path)
    assert path.read_text() == "second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_the_file_follows_the_hub(
    environ: dict[str, str],
    answers: list[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "token"
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(path))
    monkeypatch.setenv("CASA_ENV_HUB_TOKEN_S", "0.05")
    # The hub is away for a moment: the file keeps what it has.
    answers.extend([{}, {"auth_state": {"access_token": "second"}}])

    async def follow() -> None:
        keeper = asyncio.create_task(keep_token(load_settings(), environ))
        while not path.exists() or path.read_text() != "second":  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.01)
        keeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeper

    asyncio.run(asyncio.wait_for(follow(), 30))


def test_nothing_is_written_unless_it_is_asked_for(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(tmp_path / "token"))
    asyncio.run(keep_token(load_settings(), environ))
    assert list(tmp_path.iterdir()) == []
