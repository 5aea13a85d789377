"""Apache Spark, in its own environment, beside coffea: the same histograms."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agc.hists.io import load_histograms
from casa_env.errors import ClusterError
from casa_env.settings import load_settings
from casa_env.workers.spark import where_spark_runs
from support.programs import beside_python, run_beside
from support.spark import Standalone, logged, standalone

REAL = "nanoAOD_2015_CMS_Open_Data_ttbar.root"

#: In the environment of a program of these tests, and of what it starts.
MARK = "CASA_TEST_OF_SPARK"


@pytest.fixture(scope="module")
def spark_python(repository: Path) -> Path:
    """Return the Python of the environment with Spark, which is made if need be."""
    return beside_python(repository, "spark")


@pytest.fixture(scope="module")
def cluster(
    spark_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Standalone]:
    with standalone(spark_python, tmp_path_factory.mktemp("spark"), workers=2) as one:
        yield one


def start(
    python: Path, folder: Path, *files: Path, **environ: str
) -> subprocess.Popen[str]:
    """Start what uses Spark: with real files all of it, without a session alone."""
    tests = Path(__file__).resolve().parents[1]
    paths = f"{tests}:{tests.parent / 'notebooks'}"
    places = {"PYTHONPATH": paths, "XDG_STATE_HOME": str(folder), MARK: str(folder)}
    return subprocess.Popen(
        [python, "-m", "support.spark_user", folder, *files],
        env=os.environ | places | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> Any:
    """Return what it says, once it has ended."""
    output, errors = process.communicate(timeout=400)
    assert process.returncode == 0, output[-2000:] + errors[-4000:]
    return json.loads(output.splitlines()[-1])


def left_of(folder: Path, *, within: float = 20) -> list[str]:
    """Return what such a program has left running, after some time to end in."""
    deadline = time.monotonic() + within
    while True:
        left = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == str(folder):
                    left.append(" ".join(process.cmdline())[-200:])
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.2)


@pytest.fixture(scope="module")
def stranger(
    spark_python: Path, cluster: Standalone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[subprocess.Popen[str]]:
    """Start what does not know the secret; Spark gives up after a minute."""
    guess = {"_SPARK_AUTH_SECRET": "guessed"}
    folder = tmp_path_factory.mktemp("stranger")
    with start(spark_python, folder, **cluster.environ | guess) as process:
        yield process
        process.kill()


@pytest.mark.slow
@pytest.mark.usefixtures("stranger")  # whose minute passes meanwhile
def test_the_notebook_runs_on_a_cluster_with_the_same_bins(
    spark_python: Path, cluster: Standalone, repository: Path, tmp_path: Path
) -> None:
    notebook = repository / "notebooks" / "agc-ttbar-spark.ipynb"
    done = run_beside(spark_python, notebook, tmp_path, **cluster.environ)
    assert cluster.secret not in done.stdout + (tmp_path / "n.ipynb").read_text()
    found = load_histograms(tmp_path / "results" / "histograms.json")
    expected = load_histograms(repository / "notebooks" / "inputs" / "reference.json")
    assert {name: found[name] for name in expected} == expected
    rates = json.loads((tmp_path / "results" / "engines.json").read_text())
    assert len(rates) == 3


@pytest.fixture(scope="module", params=["local", "cluster"])
def said(
    request: pytest.FixtureRequest,
    spark_python: Path,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    real = repository.parent / "shared" / "data" / "cms-open-data-2015" / REAL
    folder, environ = tmp_path_factory.mktemp(request.param), {}
    if request.param == "cluster":
        environ = request.getfixturevalue("cluster").environ
    process = start(spark_python, folder, real, **environ)
    secret, seen = environ.get("_SPARK_AUTH_SECRET", "-"), False
    while process.poll() is None:  # its command lines and those of its executors
        lines = [p.info["cmdline"] or [] for p in psutil.process_iter(["cmdline"])]
        seen |= any(secret in word for line in lines for word in line[1:] if environ)
        time.sleep(0.5)
    found = answer(process) | {"secret seen": seen, "left": left_of(folder)}
    return found | {"logged": secret in logged(folder) if environ else False}


def test_made_up_events_fill_the_same_bins(said: Any) -> None:
    assert said["made up"]["selected"] > 1000
    assert said["made up"]["uproot"] is True
    assert said["made up"]["rdataframe"] is True


def test_a_real_file_fills_the_same_bins(said: Any, shared_data: Path) -> None:
    assert (shared_data / "cms-open-data-2015" / REAL).exists()
    assert said["real"] == [{"selected": 0.0, "uproot": True, "rdataframe": True}]


@pytest.mark.fault("inputs", "Spark is given bad files", "file and fault named")
@pytest.mark.parametrize("way", ["uproot", "rdataframe"])
@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("missing", r"UnreadableFileError: .*nowhere.root: there is no such file"),
        ("branch", r"MissingBranchError: .*other.root: no branch Electron_pt"),
    ],
)
def test_a_bad_file_is_named(said: Any, way: str, fault: str, text: str) -> None:
    kind, file = text.split(": .*")
    assert said["bad"][fault][way].startswith(kind)
    assert file in said["bad"][fault][way]


@pytest.mark.fault("clusters", "a worker of Spark is killed", "same, or an error")
def test_a_killed_worker_ends_nothing_or_is_said(said: Any) -> None:
    assert said["killed"]
    for one in said["killed"]:
        assert one["killed"]
        assert one["found"] is True or "failed: " in one["found"]
        assert one["seconds"] < 200


@pytest.mark.parametrize("said", ["local"], indirect=True)
@pytest.mark.fault("clusters", "Spark's task ends its worker each time", "said so")
def test_a_task_that_ends_every_worker_is_said_to(said: Any) -> None:
    assert "Every worker that began a task of Spark died" in said["deadly"]


def test_workers_run_this_environments_python_and_all_listen_on_loopback(
    said: Any, spark_python: Path
) -> None:
    assert said["pythons"] == [str(spark_python)]
    assert said["addresses"] == ["127.0.0.1"]
    assert said["again"]


def test_the_secret_is_in_no_command_line_and_no_log(
    said: Any, cluster: Standalone
) -> None:
    assert not said["secret seen"]
    assert not said["logged"]
    assert cluster.secret not in logged(cluster.folder)


def test_nothing_is_left_running(said: Any) -> None:
    assert said["left"] == []


@pytest.mark.fault("clusters", "a kernel with Spark is killed", "Spark ends with it")
def test_spark_ends_with_a_process_that_is_killed(
    spark_python: Path, tmp_path: Path
) -> None:
    with start(spark_python, tmp_path) as process:
        assert process.wait(300) == -9
    assert left_of(tmp_path) == []


@pytest.mark.fault("security", "a wrong secret for Spark's master", "refused, in time")
def test_who_does_not_know_the_secret_is_refused(
    stranger: subprocess.Popen[str],
) -> None:
    found = answer(stranger)["refused"]
    assert found.startswith("ClusterError: ")
    assert "guessed" not in found


@pytest.mark.fault("clusters", "Spark's workers run another Python", "refused")
def test_workers_with_other_packages_are_refused(
    spark_python: Path, cluster: Standalone, tmp_path: Path
) -> None:
    other = {"CASA_ENV_DASK_WORKER_PYTHON": sys.executable}
    found = answer(start(spark_python, tmp_path, **cluster.environ | other))["refused"]
    assert found.startswith("EnvironmentMismatchError: ")
    assert "root" in found


@pytest.mark.fault("clusters", "Spark's master is not there", "said at once")
def test_a_master_that_is_not_there_is_said(spark_python: Path, tmp_path: Path) -> None:
    environ = {
        "CASA_ENV_SPARK_MASTER": "spark://127.0.0.1:9",
        "_SPARK_AUTH_SECRET": "any",
    }
    found = answer(start(spark_python, tmp_path, **environ))["refused"]
    assert "cannot be reached" in found
    assert "127.0.0.1 port 9: connection refused" in found


@pytest.mark.parametrize(
    ("given", "step"),
    [
        ({}, "Set spark_secret"),
        ({"spark_secret": "any"}, "Set dask_interface"),
    ],
)
def test_a_cluster_elsewhere_needs_a_secret_and_an_address(
    given: dict[str, str], step: str
) -> None:
    settings = load_settings(spark_master="spark://spark.example.org:7077", **given)
    with pytest.raises(ClusterError) as caught:
        where_spark_runs(settings)
    assert caught.value.next_step.startswith(step)


def test_without_a_master_an_interface_for_others_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_INTERFACE", "ib0")
    place = where_spark_runs(load_settings())
    assert place["spark.driver.bindAddress"] == "127.0.0.1"
    assert place["spark.master"].startswith("local[")
