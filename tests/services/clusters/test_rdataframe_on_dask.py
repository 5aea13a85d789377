"""ROOT's RDataFrame on workers of a batch system and of a Gateway, with TLS."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.programs import beside_python
from support.slurm import Slurm

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root_python(repository: Path) -> Path:
    """Return the Python of the environment with ROOT, which is made if need be."""
    return beside_python(repository, "root")


def said(python: Path, repository: Path, folder: Path, **environ: str) -> Any:
    """Compare, in a process of that environment; return what it says."""
    path = f"{repository}/tests:{repository}/notebooks"
    done = subprocess.run(
        [python, "-m", "support.root_on_dask", folder],
        env=os.environ | {"PYTHONPATH": path} | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert min(found["selected"].values()) > 100
    return found


def test_jobs_of_slurm_fill_the_same_bins_as_threads(
    on_slurm: Slurm, root_python: Path, repository: Path, tmp_path: Path
) -> None:
    found = said(root_python, repository, tmp_path)
    assert found["same"] == {"4j1b": True, "4j2b": True}
    assert len(found["workers"]) == 2
    for address, (python, job) in found["workers"].items():
        assert address.startswith("tls://")
        assert (python, bool(job)) == (str(root_python), True)
    assert on_slurm.jobs() == []


@pytest.mark.usefixtures("on_gateway")
def test_a_gateways_workers_fill_the_same_bins_as_threads(
    root_python: Path, repository: Path, tmp_path: Path
) -> None:
    chosen = {"DASK_GATEWAY__CLUSTER__OPTIONS__PYTHON": str(root_python)}
    found = said(root_python, repository, tmp_path, **chosen)
    assert found["same"] == {"4j1b": True, "4j2b": True}
    assert len(found["workers"]) == 2
    for address, (python, _) in found["workers"].items():
        assert address.startswith("tls://")
        assert python == str(root_python)
