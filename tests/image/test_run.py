"""The lab image as people start it: at once, as anybody, with or without a home."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from support.figures import Figures
from support.images import Container, Images
from support.processes import free_port

#: Each is a way in which facilities start containers.
WAYS = {
    "as the image's user": (),
    "as anybody in group 0": ("--user=12345:0",),
    "with a home that is mounted empty": ("--tmpfs=/home/jovyan:mode=0777",),
    "read-only, with such a home": (
        "--read-only",
        "--tmpfs=/tmp",
        "--tmpfs=/home/jovyan:mode=0777",
    ),
    "read-only, with such a home, as anybody": (
        "--read-only",
        "--tmpfs=/tmp",
        "--tmpfs=/home/jovyan:mode=0777",
        "--user=12345:0",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
    ),
}

#: Runs the analysis; prints how many functions were loaded and how many compiled.
LOADED = """
import sys
from agc.warm_up import warm_up
warm_up()
found = {}
for name, module in sys.modules.items():
    if name.startswith("agc."):
        for value in vars(module).values():
            if hasattr(value, "stats") and hasattr(value, "py_func"):
                found[id(value)] = value.stats
hits = sum(sum(stats.cache_hits.values()) for stats in found.values())
misses = sum(sum(stats.cache_misses.values()) for stats in found.values())
print(hits, misses)
"""


@pytest.fixture(scope="module")
def lab(images: Images, figures: Figures) -> Iterator[tuple[Container, int]]:
    port = free_port()
    began = time.monotonic()
    with images.running(images.lab, (), f"--publish=127.0.0.1:{port}:8888") as started:
        started.wait_until_answers(f"http://127.0.0.1:{port}/api")
        took = time.monotonic() - began
        figures.add("JupyterLab answers after `docker run`", took, "s", target=3)
        yield started, port


def test_it_prints_a_url_that_works(lab: tuple[Container, int]) -> None:
    container, port = lab
    written = container.wait_for("token=")
    (path,) = set(re.findall(r"http://127\.0\.0\.1:8888(/\S+token=\w+)", written))
    container.wait_until_answers(f"http://127.0.0.1:{port}{path}")


def test_without_the_token_nothing_is_answered(lab: tuple[Container, int]) -> None:
    container, _ = lab
    url = "http://127.0.0.1:8888/api/contents"
    status = container.execute(
        "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", url
    )
    assert status == "403"


def test_the_engine_finds_it_healthy(lab: tuple[Container, int]) -> None:
    container, _ = lab
    deadline = time.monotonic() + 120
    while (state := container.inspect()["State"]["Health"]["Status"]) != "healthy":
        assert state != "unhealthy"
        assert time.monotonic() < deadline
        time.sleep(1)


def test_it_stops_when_it_is_told_to(images: Images) -> None:
    with images.running(images.lab) as container:
        container.wait_for("token=")
        images.engine.command("stop", "--time=30", container.name)
        assert container.inspect()["State"]["ExitCode"] == 0


@pytest.mark.parametrize("options", WAYS.values(), ids=list(WAYS))
def test_a_notebook_runs(images: Images, options: tuple[str, ...]) -> None:
    notebook = "/srv/casa/notebooks/00-welcome.ipynb"
    words = ["casa-env", "run", notebook, "--output", "/tmp/welcome.ipynb"]  # noqa: S108
    assert "The executed notebook" in images.run(images.lab, words, *options)


@pytest.mark.parametrize("options", WAYS.values(), ids=list(WAYS))
def test_jupyterlab_starts(images: Images, options: tuple[str, ...]) -> None:
    with images.running(images.lab, (), *options) as container:
        written = container.wait_for("token=")
        assert "Traceback" not in written
        url = "http://127.0.0.1:8888/api"
        assert "version" in json.loads(container.execute("curl", "-s", url))


@pytest.mark.parametrize(
    "way", ["as the image's user", "read-only, with such a home, as anybody"]
)
def test_the_analysis_comes_compiled(images: Images, way: str) -> None:
    hits, misses = images.run(images.lab, ["python", "-c", LOADED], *WAYS[way]).split()
    assert int(misses) == 0
    assert int(hits) > 0


def test_the_analysis_runs_in_a_gigabyte(images: Images, figures: Figures) -> None:
    began = time.monotonic()
    limit = ("--memory=1g", "--memory-swap=1g")
    words = ["casa-env", "run", "notebooks/agc-ttbar.ipynb"]
    printed = images.run(images.lab, words, *limit)
    figures.add(
        "agc-ttbar in a container of 1 GB", time.monotonic() - began, "s", target=90
    )
    assert "ttbar_norm" in printed


def test_the_notebooks_pass_as_tests(images: Images, figures: Figures) -> None:
    began = time.monotonic()
    command = "pytest --nbval-lax -p no:cacheprovider notebooks/*.ipynb"
    printed = images.run(images.lab, ["sh", "-c", command])
    figures.add("all notebooks under nbval", time.monotonic() - began, "s")
    assert re.search(r"\d+ passed", printed)
    assert "failed" not in printed
