"""ROOT's RDataFrame, in its own environment, beside coffea: the same histograms."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agc.hists.io import load_histograms
from support import xrootd
from support.nanoaod import random_events, write_file
from support.programs import beside_python, run_beside

REAL = "nanoAOD_2015_CMS_Open_Data_ttbar.root"


@pytest.fixture(scope="module")
def root_python(repository: Path) -> Path:
    """Return the Python of the environment with ROOT, which is made if need be."""
    return beside_python(repository, "root")


@pytest.fixture(scope="module")
def remote() -> Iterator[str]:
    """Return the URL of a file on an XRootD server."""
    with tempfile.TemporaryDirectory(prefix="casa-root-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        file = Path(write_file(folder / "f.root", random_events(3000)))
        server = xrootd.origin(folder)
        xrootd.put(server, "/store/f.root", file.read_bytes())
        with xrootd.running(server):
            yield f"{server.url}//store/f.root"


@pytest.fixture(scope="module")
def said(
    root_python: Path,
    repository: Path,
    remote: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    real = repository.parent / "shared" / "data" / "cms-open-data-2015" / REAL
    words = [
        tmp_path_factory.mktemp("root"),
        remote,
        *([real] if real.exists() else []),
    ]
    done = subprocess.run(
        [root_python, "-m", "support.root_user", *words],
        env=os.environ | {"PYTHONPATH": f"{repository}/tests:{repository}/notebooks"},
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_made_up_events_fill_the_same_bins(said: Any) -> None:
    assert said["selected"] > 1000
    assert said["same"]
    assert said["wjets"]


def test_a_url_of_a_local_file_may_be_encoded(said: Any) -> None:
    assert said["encoded"]


def test_a_real_file_fills_the_same_bins(said: Any, shared_data: Path) -> None:
    assert (shared_data / "cms-open-data-2015" / REAL).exists()
    assert said["real"] == [True]


def test_a_file_on_an_xrootd_server_is_read_without_the_xrootd_package(
    said: Any,
) -> None:
    assert said["remote"]
    assert not said["xrootd"]


@pytest.mark.fault("inputs", "ROOT is given bad files", "file and fault named")
@pytest.mark.parametrize(
    ("fault", "text"),
    {
        "missing": "nowhere.root: there is no such file",
        "text": "text.root: ROOT cannot open it",
        "branch": "other.root: no branch",
        "kinds": "ntuple.root: a ROOT::RNTuple, where",
        "https": "but no https://",
    }.items(),
)
def test_a_bad_file_is_named(said: Any, fault: str, text: str) -> None:
    assert text in said["refused"][fault]


@pytest.mark.fault("clusters", "a worker of RDataFrame is killed", "same, or an error")
def test_a_killed_worker_ends_nothing_or_is_said(said: Any) -> None:
    found = said["killed"]
    assert found.get("same") or "RDataFrame failed" in found["error"]
    assert found["seconds"] < 200


@pytest.mark.fault("clusters", "RDataFrame ends its worker each time", "named")
def test_a_dataset_that_ends_every_worker_is_named(said: Any) -> None:
    assert (
        "Every worker that began a task of ttbar__nominal" in said["killed"]["deadly"]
    )
    assert "CASA_ENV_DASK_WORKER_MEMORY_BYTES" in said["killed"]["deadly"]


@pytest.mark.slow
def test_the_notebook_runs_all_engines_with_the_same_bins(
    root_python: Path, repository: Path, tmp_path: Path
) -> None:
    notebook = repository / "notebooks" / "agc-ttbar-rdataframe.ipynb"
    run_beside(root_python, notebook, tmp_path)
    found = load_histograms(tmp_path / "results" / "histograms.json")
    expected = load_histograms(repository / "notebooks" / "inputs" / "reference.json")
    for name, histogram in expected.items():
        np.testing.assert_allclose(found[name].values(), histogram.values(), rtol=1e-9)
    rates = json.loads((tmp_path / "results" / "engines.json").read_text())
    assert len(rates) == 4
