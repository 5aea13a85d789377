"""`casa-env lab`, which is all that `make lab` runs, in the clone itself."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from casa_env.lab.extension import lab_command, lab_environment
from support.lab import running_lab, stop
from support.panel import join

COMMAND = (sys.executable, "-m", "casa_env", "lab", "--no-browser")


def test_it_prints_a_url_that_works_below_the_base_url(
    repository: Path, new_user: dict[str, str]
) -> None:
    command = (*COMMAND, "--base-url", "user/alice")
    with running_lab(command, new_user, repository) as lab:
        assert urlsplit(lab.url).path.startswith("/user/alice/lab")
        assert lab.request("GET", "lab").ok
        assert len(lab.printed.splitlines()) < 15


@pytest.mark.fault("lab", "its port is taken", "the next free one")
def test_where_the_port_is_taken_the_next_free_one_is_used(
    repository: Path, new_user: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = (*COMMAND, "--port", str(port))
        with running_lab(command, new_user, repository) as lab:
            assert urlsplit(lab.url).port != port
            assert lab.request("GET", "api/status").ok


@pytest.mark.fault("lab", "a read-only home", "it starts, and says so")
def test_with_a_home_that_cannot_be_written_it_starts_and_says_so(
    repository: Path, new_user: dict[str, str]
) -> None:
    environment = {**new_user, "HOME": "/proc/no-such-home"}
    with running_lab(COMMAND, environment, repository) as lab:
        assert "/proc/no-such-home cannot be written" in lab.printed
        assert lab.request("GET", "api/status").ok


@pytest.mark.fault("security", "yaml.py where JupyterLab is started", "it does not run")
def test_python_files_of_the_working_directory_are_not_executed(
    new_user: dict[str, str], tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    folder = tmp_path / "work"
    folder.mkdir()
    for name in ("yaml", "json", "tornado", "jupyterlab"):
        (folder / f"{name}.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    program = str(Path(sys.executable).with_name("casa-env"))
    with running_lab([program, "lab", "--no-browser"], new_user, folder) as lab:
        assert lab.request("GET", "api/status").ok
    assert not ran.exists()


def test_a_kernel_that_the_user_installed_elsewhere_does_not_win(
    repository: Path, new_user: dict[str, str], tmp_path: Path
) -> None:
    foreign = tmp_path / ".local" / "share" / "jupyter" / "kernels" / "python3"
    foreign.mkdir(parents=True)
    spec = {"argv": ["/usr/bin/false"], "display_name": "Foreign", "language": "python"}
    (foreign / "kernel.json").write_text(json.dumps(spec))
    environment = {**new_user, "HOME": str(tmp_path)}
    with running_lab(COMMAND, environment, repository) as lab:
        specs = lab.request("GET", "api/kernelspecs").json()["kernelspecs"]
    assert specs["python3"]["spec"]["display_name"] != "Foreign"


def test_a_server_that_stops_lets_its_clusters_workers_finish(
    clone: Path, new_user: dict[str, str], tmp_path: Path
) -> None:
    farewell = tmp_path / "farewell"
    code = f"import atexit; atexit.register(open, {str(farewell)!r}, 'w')"
    command = lab_command(clone=clone, browser=False, as_root=True)
    with running_lab(command, lab_environment(new_user, clone=clone), clone) as lab:
        cluster = lab.request("PUT", "dask/clusters").json()
        with join(cluster["scheduler_address"], new_user) as client:
            client.run(exec, code)
        stop(lab.process)
    assert farewell.exists()
