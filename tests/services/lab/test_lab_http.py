"""`make lab` and a hub's single-user server, asked as a browser would ask them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from casa_env.lab.extension import lab_command, lab_environment
from support.lab import Lab, running_lab
from support.panel import join

#: For what a hub has otherwise: there the analysis code reaches the workers with the
#: tasks, and Dask's packages write their commented defaults into the user's home.
A_CLONE = pytest.mark.parametrize(
    "lab", [pytest.param(("clone", "/"), id="clone")], indirect=True
)


@pytest.fixture(
    scope="module",
    params=[("clone", "/"), ("clone", "/user/alice/"), ("hub", "/user/alice/")],
    ids=["clone", "clone-with-base-url", "hub"],
)
def lab(
    request: pytest.FixtureRequest, clone: Path, new_user: dict[str, str]
) -> Iterator[Lab]:
    """Return a JupyterLab as from a clone, or as a hub's image has it set up."""
    place, base_url = request.param
    command = lab_command(
        clone=clone, base_url=base_url, browser=False, as_root=os.geteuid() == 0
    )
    environment = lab_environment(new_user, clone=clone, base_url=base_url)
    if place == "hub":
        environment = {
            **new_user,
            "DASK_ROOT_CONFIG": str(clone / "environment" / "dask"),
            "JUPYTER_CONFIG_PATH": str(clone / "environment" / "jupyter"),
            "JUPYTERHUB_SERVICE_PREFIX": base_url,
        }
    with running_lab(command, environment, clone) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Iterator[dict[str, Any]]:
    """Return the cluster that the Dask panel's "New" starts."""
    answer = lab.request("PUT", "dask/clusters")
    assert answer.status_code == 200, answer.text
    model = answer.json()
    yield model
    assert lab.request("DELETE", f"dask/clusters/{model['id']}").status_code == 204
    assert lab.request("GET", "dask/clusters").json() == []


def test_the_printed_url_opens_jupyterlab_on_loopback(lab: Lab) -> None:
    assert urlsplit(lab.url).hostname == "127.0.0.1"
    page = lab.request("GET", lab.url.removeprefix(lab.root).partition("?")[0])
    assert page.status_code == 200
    assert "jupyter-config-data" in page.text


@pytest.mark.fault("lab", "a wrong token", "refused")
def test_a_wrong_token_is_refused(lab: Lab) -> None:
    answer = lab.request("GET", "api/contents", token="wrong")  # noqa: S106 # no secret
    assert answer.status_code == 403


def test_the_folder_shown_is_the_clone(lab: Lab) -> None:
    shown = {
        entry["name"] for entry in lab.request("GET", "api/contents").json()["content"]
    }
    assert {"environment", "notebooks"} <= shown


def test_nobody_is_asked_about_news_updates_or_builds(lab: Lab) -> None:
    page = lab.request("GET", "lab").text
    assert '"buildCheck": false' in page
    assert '"news": {"disabled": true}' in page
    path = "lab/api/settings/@jupyterlab/apputils-extension:notification"
    properties = lab.request("GET", path).json()["schema"]["properties"]
    assert properties["fetchNews"]["default"] == "false"
    assert properties["checkForUpdates"]["default"] is False


def test_the_only_kernel_is_this_environments_python(lab: Lab) -> None:
    found = lab.request("GET", "api/kernelspecs").json()["kernelspecs"]
    # where environments beside it have been made, it offers theirs, too
    beside = {"casa-root", "casa-spark", "casa-differentiable"}
    assert set(found) - beside == {"python3"}


def test_no_tile_promises_a_service_that_is_not_there(lab: Lab) -> None:
    servers = lab.request("GET", "server-proxy/servers-info").json()
    titles = [one["launcher_entry"]["title"] for one in servers["server_processes"]]
    assert titles == ["MLflow"]  # always there: its server starts on demand


def test_the_panel_starts_a_cluster_that_computes(
    cluster: dict[str, Any], new_user: dict[str, str]
) -> None:
    assert cluster["workers"] > 0
    with join(cluster["scheduler_address"], new_user) as client:
        assert client.submit(sum, [20, 22]).result(timeout=60) == 42


@A_CLONE
def test_a_clones_cluster_imports_what_lies_beside_the_notebooks(
    cluster: dict[str, Any], new_user: dict[str, str]
) -> None:
    with join(cluster["scheduler_address"], new_user) as client:
        name = client.submit(eval, "__import__('agc.inputs.samples').__name__")
        assert name.result(timeout=60) == "agc"


def test_the_dashboard_answers_under_the_servers_base_url(
    lab: Lab, cluster: dict[str, Any]
) -> None:
    link = cluster["dashboard_link"]
    base_url = urlsplit(lab.root).path
    assert link.startswith(f"{base_url}proxy/")
    path = link.removeprefix(base_url)
    page = lab.request("GET", path)
    assert page.status_code == 200
    assert "bokeh" in page.text
    plots = lab.request("GET", path.replace("status", "individual-plots.json")).json()
    assert "Individual Task Stream" in plots
    stranger = lab.request("GET", path, token="wrong")  # noqa: S106 # no secret
    assert "/login?" in stranger.url
    assert "bokeh" not in stranger.text


@A_CLONE
@pytest.mark.usefixtures("cluster")
def test_nothing_is_written_into_the_users_dask_configuration(
    new_user: dict[str, str],
) -> None:
    assert not Path(new_user["HOME"], ".config", "dask").exists()
