"""`make lab` under a hub's base URL, used in a real browser; screenshots are kept."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest

from casa_env.lab.extension import lab_command, lab_environment
from support.browser import Page, chromium
from support.lab import Lab, running_lab
from support.panel import join

if TYPE_CHECKING:
    from distributed import Client

pytestmark = pytest.mark.slow

#: A notebook as a physicist writes it, by what is seen below each cell.
CELLS = {
    ".jp-OutputArea-output img": """
import hist, mplhep, numpy as np
import matplotlib.pyplot as plt
mplhep.style.use("ATLAS")
mass = hist.new.Reg(40, 50, 350, label="Mass [GeV]").Double()
mass.fill(np.random.default_rng(1).normal(173, 30, 10_000))
mass.plot()
plt.show()
""",
    ".jupyter-matplotlib canvas": """
%matplotlib widget
figure, axes = plt.subplots(layout="constrained")
mass.plot(ax=axes)
plt.show()
""",
    ".widget-slider": """
import ipywidgets
ipywidgets.IntSlider(4, description="jets")
""",
    ".jp-OutputArea-output a[href='DASHBOARD']": """
from distributed import Client
Client("SCHEDULER", set_as_default=False)
""",
}

#: What the cluster is given to do; different lengths, or Dask would do it only once.
TASKS_S = [0.02 + 1e-4 * i for i in range(100)]

#: Errors in the console that are not ours to mend.
NOT_OURS = (
    # dask-labextension asks the base URL for a dashboard's plots when a page opens,
    # before it knows of a dashboard.
    "/user/alice/individual-plots.json?",
    # JupyterLab's debugger gives up a question where a kernel takes long to start.
    "Could not restore the debugger state",
)


@pytest.fixture(scope="module")
def lab(clone: Path, new_user: dict[str, str]) -> Iterator[Lab]:
    """Return a JupyterLab under the base URL that a hub gives its users."""
    base_url = "/user/alice/"
    command = lab_command(
        clone=clone, base_url=base_url, browser=False, as_root=os.geteuid() == 0
    )
    environment = lab_environment(new_user, clone=clone, base_url=base_url)
    with running_lab(command, environment, clone) as running:
        yield running


@pytest.fixture(scope="module")
def opened(
    lab: Lab, artefacts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Page]:
    """Return the page that the printed URL leads to."""
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        driver.get(lab.url)
        page = Page(driver, artefacts=artefacts)
        page.see("#jp-main-dock-panel")
        page.until(lambda: not page.all("#jupyterlab-splash"), "the splash to go")
        yield page


@pytest.fixture
def page(opened: Page) -> Iterator[Page]:
    """Return the page; fail where the browser's console has an error afterwards."""
    opened.console_errors()
    yield opened
    opened.driver.switch_to.default_content()
    errors = opened.console_errors()
    assert [e for e in errors if not any(known in e for known in NOT_OURS)] == []


@pytest.fixture(scope="module")
def cluster(opened: Page, lab: Lab) -> dict[str, Any]:
    """Return the cluster that a click on "New" in the Dask panel starts."""
    opened.click(".lm-TabBar-tab[data-id='dask-dashboard-launcher']")
    opened.click("[data-command='dask:launch-cluster']")
    opened.see(".dask-ClusterListingItem")
    (model,) = lab.request("GET", "dask/clusters").json()
    return model


@pytest.fixture(scope="module")
def client(cluster: dict[str, Any], new_user: dict[str, str]) -> Iterator[Client]:
    """Return a client of the panel's cluster, as a notebook has one."""
    with join(cluster["scheduler_address"], new_user) as client:
        yield client


def test_the_first_page_is_calm(opened: Page) -> None:
    opened.see("#jp-main-dock-panel .lm-TabBar-tab")
    opened.see(".jp-LauncherCard img[src*='server-proxy/icon/mlflow']")
    opened.keep("first-page")
    assert opened.all(".jp-Dialog, .Toastify__toast, .jp-toast") == []
    assert opened.console_errors() == []


def test_the_dask_panel_shows_the_cluster_it_started(
    page: Page, cluster: dict[str, Any]
) -> None:
    text = page.see(".dask-ClusterListingItem").text
    page.keep("dask-panel")
    assert cluster["scheduler_address"] in text
    assert f"Number of Workers: {cluster['workers']}" in text
    assert cluster["workers"] > 0


@pytest.mark.parametrize(
    ("plot", "values"), [("Workers Memory", 2), ("Progress", 1), ("Task Stream", 100)]
)
def test_a_dashboard_pane_draws_what_the_cluster_does(
    page: Page, client: Client, plot: str, values: int
) -> None:
    page.click(f".dask-DashboardListing-item button[value='{plot}']")
    frame = page.see("#jp-main-dock-panel iframe[src*='/user/alice/proxy/']")
    page.driver.switch_to.frame(frame)
    page.see_bokeh()
    client.gather(client.map(time.sleep, TASKS_S, key=f"task-{values}"))
    page.see_bokeh(values)
    page.driver.switch_to.default_content()
    page.keep(f"pane-{plot.lower().replace(' ', '-')}")


def test_the_dashboards_own_page_works_through_the_servers_path(
    page: Page, lab: Lab, cluster: dict[str, Any], client: Client
) -> None:
    link = page.see(".dask-ClusterListingItem-link a").get_attribute("href")
    assert link == lab.root.replace("/user/alice/", "") + cluster["dashboard_link"]
    browser = page.driver
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(link)
    page.see_bokeh()
    client.gather(client.map(time.sleep, TASKS_S, key="task"))
    page.see_bokeh(100)
    page.keep("dashboard")
    browser.close()
    browser.switch_to.window(first)


def test_a_notebook_shows_plots_widgets_and_the_cluster(
    page: Page, lab: Lab, clone: Path, cluster: dict[str, Any]
) -> None:
    known = {
        "SCHEDULER": cluster["scheduler_address"],
        "DASHBOARD": cluster["dashboard_link"],
    }
    seen = {_filled(css, known): _filled(cell, known) for css, cell in CELLS.items()}
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell.strip()) for cell in seen.values()]
    )
    nbformat.write(notebook, clone / "notebooks" / "plots.ipynb")
    page.driver.get(f"{lab.root}lab/tree/notebooks/plots.ipynb")
    page.see(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    for index, css in enumerate(seen):
        page.run_cell(index)
        page.scroll_to(css)
        if "canvas" in css:
            page.see_painted(css)
        page.keep(f"notebook-{index + 1}")
    assert page.all("[data-mime-type='application/vnd.jupyter.error']") == []


def _filled(text: str, known: dict[str, str]) -> str:
    """Fill in what is known only once a cluster runs."""
    for name, value in known.items():
        text = text.replace(name, value)
    return text


def test_the_panel_shuts_its_cluster_down(
    opened: Page, lab: Lab, cluster: dict[str, Any]
) -> None:
    assert cluster in lab.request("GET", "dask/clusters").json()
    opened.click(".dask-ClusterListingItem-stop")
    opened.until(
        lambda: lab.request("GET", "dask/clusters").json() == [], "the cluster to go"
    )
    opened.until(lambda: not opened.all(".dask-ClusterListingItem"), "an empty panel")
    opened.keep("dask-panel-empty")
