"""Two users of one machine: neither can prepare nor read where the other's token is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.spawner import LocalProcessSpawner
from traitlets.config.loader import PyFileConfigLoader

from support.processes import free_port, running, wait_for

NOBODY, ANOTHER = 65534, 65533

#: As much of a provider as the configuration asks while it is loaded.
PROVIDER = """
import http.server, json, sys
class Provider(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        names = ("authorization_endpoint", "token_endpoint")
        self.wfile.write(json.dumps(dict.fromkeys(names, "http://127.0.0.1:9")).encode())
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Provider)
print("provider is up", flush=True)
server.serve_forever()
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """Give a folder that every user of the machine can reach."""
    if os.geteuid() != 0:
        pytest.skip("only root is several users")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def make_folder(
    repository: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Path]:
    """Give what the hub does before the server of the account nobody starts."""
    (tmp_path / "users.toml").write_text('"sub-of-nobody" = "nobody"')
    port = free_port()
    monkeypatch.setenv("HUB_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HUB_USERS", str(tmp_path / "users.toml"))
    monkeypatch.setenv("OIDC_ISSUER", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("CASA_HUB_TOKEN_FOLDER", str(shared / "casa"))
    folder = repository / "environment" / "jupyterhub"
    log = tmp_path / "provider.log"
    with running([sys.executable, "-c", PROVIDER, str(port)], log=log) as server:
        wait_for(server, "provider is up", log=log)
        loader = PyFileConfigLoader("jupyterhub_config.py", path=str(folder))
        config: Any = loader.load_config()
    spawner = LocalProcessSpawner(user=SimpleNamespace(name="nobody"))

    def make() -> Path:
        config.Spawner.pre_spawn_hook(spawner)
        return Path(config.Spawner.environment["BEARER_TOKEN_FILE"](spawner))

    return make


def as_user(uid: int, *words: str) -> int:
    done = subprocess.run(
        words, user=uid, group=uid, extra_groups=(), capture_output=True, check=False
    )
    return done.returncode


def test_a_folder_is_its_users_alone(
    make_folder: Callable[[], Path], shared: Path
) -> None:
    token = make_folder()
    assert token == shared / "casa" / "nobody" / "token"
    assert make_folder() == token  # a second server finds it as it was
    found = token.parent.stat()
    assert (found.st_uid, found.st_mode) == (NOBODY, 0o40700)
    assert as_user(NOBODY, "sh", "-c", f"echo secret >{token}") == 0
    assert as_user(NOBODY, "cat", str(token)) == 0
    assert as_user(ANOTHER, "cat", str(token)) != 0
    assert as_user(ANOTHER, "touch", f"{token}.planted") != 0
    assert as_user(ANOTHER, "mkdir", str(shared / "casa" / "another")) != 0
    assert as_user(ANOTHER, "ls", str(shared / "casa")) != 0
    assert as_user(ANOTHER, "mv", str(token.parent), f"{token.parent}.old") != 0


@pytest.mark.parametrize("planted", ["owned", "writable", "link", "above"])
def test_a_place_that_others_can_exchange_is_refused(
    make_folder: Callable[[], Path], shared: Path, tmp_path: Path, planted: str
) -> None:
    folder = shared / "casa"
    if planted == "link":
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to(tmp_path / "elsewhere")
    elif planted == "above":
        shared.chmod(0o777)
    else:
        folder.mkdir()
        folder.chmod(0o1777 if planted == "writable" else 0o711)
    if planted == "owned":
        os.chown(folder, ANOTHER, ANOTHER)
    with pytest.raises(PermissionError, match="others may write there"):
        make_folder()
    assert not (folder / "nobody").exists()
