"""What the facility's page says of size and cost is what is computed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from support.helm import CHART, Tools

FOLDER = CHART.parent
README = FOLDER / "README.md"
SIZES = {"Mi": 1 / 1024, "Gi": 1.0, "Ti": 1024.0}


@pytest.fixture(scope="module")
def capacity() -> ModuleType:
    spec = importlib.util.spec_from_file_location("capacity", FOLDER / "capacity.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["capacity"] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_is_computed(capacity: ModuleType) -> None:
    assert capacity.table(capacity.Assumptions()) in README.read_text()


def test_another_facility_is_another_table(capacity: ModuleType) -> None:
    program = [sys.executable, "-P", str(FOLDER / "capacity.py")]
    words = ["--users", "20", "--workers", "100"]
    done = subprocess.run(
        [*program, *words], capture_output=True, text=True, check=True
    )
    small = capacity.Assumptions(users=20, workers=100)
    assert done.stdout.strip() == capacity.table(small)
    assert all(load.share < 1 for load in capacity.loads(small))
    wrong = subprocess.run(
        [*program, "--workers", "0"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "--workers" in wrong.stderr


def test_what_fills_a_service_fills_it_and_one_worker_less_does_not(
    capacity: ModuleType,
) -> None:
    for service, workers in capacity.workers_until_full(capacity.Assumptions()).items():
        for number, full in ((workers, False), (workers + 1, True)):
            loads = capacity.loads(capacity.Assumptions(workers=number))
            (share,) = (load.share for load in loads if load.service == service)
            assert (share >= 1) == full


def test_the_caches_that_are_needed_are_enough(capacity: ModuleType) -> None:
    given = capacity.Assumptions()
    needed = capacity.caches_needed(given)
    for caches, enough in ((needed, True), (needed - 1, False)):
        loads = capacity.loads(capacity.Assumptions(caches=caches))
        (share,) = (load.share for load in loads if load.service == "XCache")
        assert (share <= 1) == enough


def test_the_example_of_a_tier_2_serves_its_own_workers(
    capacity: ModuleType,
) -> None:
    values = yaml.safe_load((CHART / "values-tier2.yaml").read_text())
    given = capacity.Assumptions(
        workers=values["dask"]["workers"]["count"], caches=values["xcache"]["count"]
    )
    assert given.caches == capacity.Assumptions().caches
    assert all(load.share < 0.9 for load in capacity.loads(given))


def size(text: str) -> float:
    return float(text[:-2]) * SIZES[text[-2:]]


def asked_for(documents: list[dict[str, Any]]) -> tuple[float, float, float]:
    """Return the cores, and the GiB of memory and disk, of all that is rendered."""
    cores = memory = disk = 0.0
    for document in documents:
        spec = document.get("spec", {})
        if document["kind"] == "Deployment":
            for container in spec["template"]["spec"]["containers"]:
                requests = container["resources"]["requests"]
                cores += float(requests["cpu"]) * spec["replicas"]
                memory += size(requests["memory"]) * spec["replicas"]
        elif document["kind"] == "PersistentVolumeClaim":
            disk += size(spec["resources"]["requests"]["storage"])
    return cores, memory, disk


@pytest.mark.parametrize(
    ("example", "called"),
    [("values.yaml", "defaults"), ("values-laptop.yaml", "laptop")],
)
def test_what_it_costs_is_what_is_asked_for(
    tools: Tools, chart: Path, example: str, called: str
) -> None:
    found = asked_for(tools.render(chart, "--values", str(chart / example)))
    text = " ".join(README.read_text().split())
    said = re.search(
        rf"{called}[^;]*? ([\d.]+) cores, ([\d.]+) GiB of memory and ([\d.]+) GiB", text
    )
    assert said is not None
    assert tuple(map(float, said.groups())) == pytest.approx(found)


def test_there_are_ten_steps_and_every_secret_of_the_chart_is_in_them() -> None:
    text = README.read_text()
    steps = text.split("## From an empty cluster")[1].split("\n## ")[0]
    numbers = [int(n) for n in re.findall(r"^(\d+)\. ", steps, re.MULTILINE)]
    assert numbers == list(range(1, 11))
    values = (CHART / "values.yaml").read_text()
    secrets = set(re.findall(r"(?:[sS]ecret|name): (casa-[a-z-]+)", values))
    secrets -= {"casa-lab-image", "casa-site", "casa-hub-files", "casa-worker"}
    secrets -= {"casa-xcache"}
    assert len(secrets) >= 4
    for secret in secrets:
        assert secret in steps, secret


def test_every_file_of_the_folder_that_is_named_is_there() -> None:
    text = README.read_text()
    rows = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(rows) >= 6
    for name in rows:
        assert (FOLDER / name).exists(), name
