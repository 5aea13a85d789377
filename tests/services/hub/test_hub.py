"""Our hub configuration, for real: log in, start the lab, work with the own token."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from support.hub import Hub
from support.hub_user import HubUser
from support.processes import free_port

pytestmark = pytest.mark.slow

#: How long the token's file may take to change on a loaded machine, in seconds.
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def user(hub: Hub) -> HubUser:
    alice = HubUser(hub.url, "alice")
    alice.log_in()
    alice.start()
    return alice


@pytest.fixture(scope="module")
def other(hub: Hub) -> HubUser:
    bob = HubUser(hub.url, "bob")
    bob.log_in()
    bob.start()
    return bob


def claims(token: str) -> dict[str, object]:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def read_until(user: HubUser, *, other_than: str) -> str:
    """Return the token that a kernel reads, once it is another one."""
    wait = f"""
import os, pathlib, time
path = pathlib.Path(os.environ["BEARER_TOKEN_FILE"])
deadline = time.time() + {PATIENCE_S}
while time.time() < deadline:
    if path.exists() and path.read_text() != {other_than!r}:
        break
    time.sleep(0.2)
print(path.read_text())
"""
    return user.run(wait).strip()


def test_a_kernel_reads_the_users_token_from_a_file(user: HubUser) -> None:
    token = read_until(user, other_than="")
    found = claims(token)
    assert found["sub"] == "sub-of-alice"
    assert "storage.read:/" in str(found["scope"])
    assert "BEARER_TOKEN" not in user.run("import os; print(*os.environ)").split()


def test_nobody_else_can_read_that_file(user: HubUser) -> None:
    read_until(user, other_than="")
    code = "import os; print(oct(os.stat(os.environ['BEARER_TOKEN_FILE']).st_mode))"
    assert user.run(code).strip() == "0o100600"


def test_each_user_has_a_token_and_a_private_folder_for_it(
    user: HubUser, other: HubUser, hub: Hub
) -> None:
    for one in (user, other):
        token = read_until(one, other_than="")
        assert claims(token)["sub"] == f"sub-of-{one.name}"
        path = Path(
            one.run("import os; print(os.environ['BEARER_TOKEN_FILE'])").strip()
        )
        assert path == hub.tokens / one.name / "token"
        assert path.parent.stat().st_mode == 0o40700


@pytest.mark.fault("security", "a hub's user chooses somebody's name", "refused")
@pytest.mark.parametrize(
    "login",
    ["sub-of-eve as alice", "alice", "Sub-Of-Alice", "root", "../alice", "sub-of-eve"],
)
def test_a_name_that_was_chosen_gives_nobodys_account(hub: Hub, login: str) -> None:
    eve = HubUser(hub.url, "alice", login=login)
    page = eve.follow_provider()
    assert page.status_code == 403
    assert "HUB_USERS gives no account" in page.text
    page = eve.session.get(f"{eve.home}lab", timeout=PATIENCE_S)
    assert "/hub/login" in page.url


@pytest.mark.fault("security", "a token's folder is another's", "refused, and said")
@pytest.mark.parametrize("planted", ["folder", "link", "readable"])
def test_a_token_folder_that_somebody_else_made_is_refused(
    hub: Hub, tmp_path: Path, planted: str
) -> None:
    folder = hub.tokens / "carol"
    hub.tokens.mkdir(mode=0o711, exist_ok=True)
    if planted == "link":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir(mode=0o755 if planted == "readable" else 0o700)
    if planted == "folder":
        if os.geteuid() != 0:
            pytest.skip("only root can make a folder of another user")
        os.chown(folder, 65534, 65534)
    try:
        page = HubUser(hub.url, "carol").follow_provider()  # it leads to her server
        assert page.status_code == 500
        said = f"{folder} is not a private folder of uid {os.geteuid()}"
        assert said in hub.log.read_text().rpartition("GET /hub/spawn")[0][-4000:]
        assert not (folder / "token").exists()
    finally:
        folder.unlink() if planted == "link" else folder.rmdir()


def test_the_token_is_renewed_while_the_session_runs(user: HubUser) -> None:
    first = read_until(user, other_than="")
    second = read_until(user, other_than=first)
    assert claims(second)["sub"] == "sub-of-alice"
    assert float(str(claims(second)["exp"])) > float(str(claims(first)["exp"]))
    assert float(str(claims(second)["exp"])) > time.time()


def test_the_hub_knows_the_providers_groups_also_after_a_renewal(
    user: HubUser, other: HubUser
) -> None:
    ask = """
import json, os, urllib.request
address = os.environ["JUPYTERHUB_API_URL"] + "/user"
headers = {"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]}
answer = urllib.request.urlopen(urllib.request.Request(address, headers=headers))
print(json.dumps(json.load(answer)["groups"]))
"""
    for _ in range(2):
        assert set(json.loads(user.run(ask))) == {"/casa", "/casa/large"}
        assert json.loads(other.run(ask)) == ["/casa"]
        read_until(user, other_than=read_until(user, other_than=""))


def test_doctor_is_green_in_the_lab(user: HubUser) -> None:
    read_until(user, other_than="")
    code = (
        "import json, subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-m', 'casa_env', 'doctor', '--json'],"
        " capture_output=True, text=True)\n"
        "print(json.dumps([done.returncode, done.stdout, done.stderr]))"
    )
    status, printed, complaints = json.loads(user.run(code).splitlines()[-1])
    checks = {check["name"]: check["status"] for check in json.loads(printed)}
    assert status == 0, printed + complaints
    assert (checks["token"], checks["dask"]) == ("ok", "ok")
    assert "failed" not in checks.values()


def test_the_session_knows_that_it_is_at_a_facility(user: HubUser) -> None:
    code = "import casa_env; print(casa_env.load_settings().site)"
    assert user.run(code).strip() == "facility"


def test_no_token_is_written_to_the_hubs_log(user: HubUser, hub: Hub) -> None:
    token = read_until(user, other_than="")
    assert token not in Path(hub.log).read_text()


@pytest.mark.parametrize(
    ("users", "said"),
    [
        ("", "Connection refused"),
        ('"sub-of-eve" = "../alice"', "'sub-of-eve' needs the name of an account"),
        ('"sub-of-eve" = 0', "'sub-of-eve' needs the name of an account"),
    ],
    ids=["provider", "path", "number"],
)
def test_without_a_provider_or_good_names_the_hub_says_so_and_ends(
    repository: Path, tmp_path: Path, users: str, said: str
) -> None:
    configuration = repository / "environment" / "jupyterhub" / "jupyterhub_config.py"
    environ = {
        "HOME": str(tmp_path),
        "HUB_URL": "http://127.0.0.1:1",
        "HUB_USERS": str(tmp_path / "users.toml"),
        "OIDC_ISSUER": f"http://127.0.0.1:{free_port()}",
        "PATH": "/usr/bin:/bin",
    }
    (tmp_path / "users.toml").write_text(users)
    done = subprocess.run(
        [str(repository / ".venv/bin/jupyterhub"), "--config", str(configuration)],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode != 0
    assert said in done.stderr
