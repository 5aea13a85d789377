"""MLflow's page in JupyterLab, asked as a browser behind a hub would ask for it."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from casa_env.lab.extension import lab_command, lab_environment
from support.lab import Lab, running_lab, stop

pytestmark = pytest.mark.slow

HUB = "hub.example.org"
#: A first start makes the database, and machines are loaded.
PATIENCE_S = 240.0
SEARCH = "mlflow/ajax-api/2.0/mlflow/experiments/search"


def ask(
    lab: Lab, path: str, *, origin: str = "", method: str = "GET"
) -> requests.Response:
    """Send what a browser sends that knows the hub by its name only."""
    headers = {"Authorization": f"token {lab.token}", "Host": HUB}
    if origin:
        headers["Origin"] = origin
    body = {"max_results": 5} if method == "POST" else None
    return requests.request(
        method, lab.root + path, headers=headers, json=body, timeout=PATIENCE_S
    )


def family(lab: Lab) -> list[psutil.Process]:
    return [lab.process, *lab.process.children(recursive=True)]


@pytest.fixture(scope="module")
def lab(clone: Path, new_user: dict[str, str]) -> Iterator[Lab]:
    """Return a JupyterLab that answers to the hub's name, and its page of MLflow."""
    base_url = "/user/alice@cern.ch/"
    command = lab_command(
        clone=clone, base_url=base_url, browser=False, as_root=os.geteuid() == 0
    )
    command.append(f"--ServerApp.local_hostnames={HUB}")
    environment = lab_environment(new_user, clone=clone, base_url=base_url)
    with running_lab(command, environment, clone) as running:
        assert ask(running, "mlflow/").status_code == 200
        yield running


def test_the_page_and_its_assets_come_below_the_base_url(lab: Lab) -> None:
    page = ask(lab, "mlflow/")
    assets = re.findall(r'(?:src|href)="\.?/?(static-files/[^"]+)"', page.text)
    assert any(asset.endswith(".js") for asset in assets)
    for asset in assets:
        assert ask(lab, f"mlflow/{asset}").status_code == 200, asset


def test_what_the_page_posts_is_answered(lab: Lab) -> None:
    answer = ask(lab, SEARCH, origin=f"http://{HUB}", method="POST")
    assert answer.status_code == 200, answer.text
    assert "experiments" in answer.json()


@pytest.mark.fault("security", "another page posts to MLflow's", "refused")
def test_what_another_page_posts_is_refused(lab: Lab) -> None:
    # MLflow answers and hangs up before it has read the body. Where that comes between
    # tornado's two writes, of headers and body, the second fails, and the proxy has 500
    # (jupyter-server-proxy 4.6, tornado 6.6); never is it what was asked for.
    evil = {"origin": "https://evil.example.org", "method": "POST"}
    answers = [ask(lab, SEARCH, **evil) for _ in range(3)]
    assert not [answer for answer in answers if answer.ok]
    assert [a for a in answers if a.status_code == 403 and "Cross-origin" in a.text]


@pytest.mark.fault("security", "a stranger asks for MLflow's page", "refused")
def test_a_stranger_sees_nothing_of_it(lab: Lab) -> None:
    answer = requests.get(
        f"{lab.root}mlflow/", headers={"Host": HUB}, timeout=60, allow_redirects=False
    )
    assert answer.status_code in (302, 403)


@pytest.mark.fault(
    "security", "another user connects to MLflow's socket", "permission denied"
)
def test_the_server_listens_where_only_its_user_reaches_it_and_checks_its_name(
    lab: Lab,
) -> None:
    servers = [p for p in family(lab) if "mlflow" in " ".join(p.cmdline())]
    assert servers
    assert not [
        c
        for process in servers
        for c in process.net_connections("inet")
        if c.status == psutil.CONN_LISTEN
    ]
    (path,) = {
        c.laddr
        for process in servers
        for c in process.net_connections("unix")
        if "jupyter-server-proxy" in str(c.laddr)
    }
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    ask_it = f"""
import http.client, socket
asked = http.client.HTTPConnection({HUB!r})
asked.sock = socket.socket(socket.AF_UNIX)
asked.sock.connect({path!r})
asked.request("GET", "/")
answer = asked.getresponse()
print(answer.status, answer.read())
"""
    mine = subprocess.run(
        [sys.executable, "-c", ask_it], capture_output=True, text=True, check=True
    )
    assert "403" in mine.stdout
    assert "Invalid Host header" in mine.stdout
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can ask as another user")
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    assert python
    theirs = subprocess.run(
        [*other, python, "-c", ask_it], capture_output=True, text=True, check=False
    )
    assert "PermissionError" in theirs.stderr


def test_nothing_is_left_in_the_folder_that_jupyterlab_shows(
    lab: Lab, clone: Path
) -> None:
    assert lab.process.is_running()
    names = {path.name for path in clone.rglob("*")}
    assert not names & {"mlflow.db", "mlruns", "mlartifacts"}


@pytest.mark.fault("lab", "JupyterLab is killed", "MLflow's page ends with it")
def test_it_starts_on_demand_and_ends_with_jupyterlab_however_that_ends(
    clone: Path, new_user: dict[str, str]
) -> None:
    command = lab_command(clone=clone, browser=False, as_root=os.geteuid() == 0)
    environment = lab_environment(new_user, clone=clone)
    for way in ("asked to stop", "killed"):
        with running_lab(command, environment, clone) as lab:
            servers = lab.request("GET", "server-proxy/servers-info").json()
            entries = [one["launcher_entry"] for one in servers["server_processes"]]
            assert [one["title"] for one in entries] == ["MLflow"]
            assert not any("mlflow" in " ".join(p.cmdline()) for p in family(lab)[1:])
            assert ask_local(lab).status_code == 200
            ours = family(lab)
            assert any("mlflow" in " ".join(p.cmdline()) for p in ours[1:])
            if way == "killed":
                lab.process.kill()
            else:
                stop(lab.process)
            _, left = psutil.wait_procs(ours, timeout=60)
            assert left == [], way


def ask_local(lab: Lab) -> requests.Response:
    headers = {"Authorization": f"token {lab.token}"}
    return requests.get(f"{lab.root}mlflow/", headers=headers, timeout=PATIENCE_S)
