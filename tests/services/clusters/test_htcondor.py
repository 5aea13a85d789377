"""The stock HTCondorCluster on a real HTCondor, as an ordinary user of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from support.condor import Condor


@pytest.fixture(scope="module")
def said(running_condor: Condor, condor_site: dict[str, str], repository: Path) -> Any:
    program = repository / "tests" / "support" / "condor_user.py"
    out = running_condor.run(
        sys.executable, "-P", str(program), timeout=300, **condor_site
    )
    return json.loads(out.splitlines()[-1])


def test_the_stock_cluster_starts_jobs_and_removes_them(said: Any) -> None:
    assert said["stock"]
    assert said["address"].startswith("tls://")
    assert said["sum"] == 3
    assert said["jobs"] == len(said["slots"]) == 2
    assert all(slot.startswith("slot1_") for slot in said["slots"])
    assert said["after"] == 0


@pytest.mark.fault("batch", "no machine takes an HTCondor job", "the queue's reason")
def test_a_job_that_no_machine_takes_is_an_error_with_the_queues_reason(
    said: Any,
) -> None:
    assert said["idle"]["kind"] == "workers"
    assert "1 pending (idle: no machine has taken it)" in said["idle"]["text"]
    assert said["idle"]["jobs"] == 0


def test_a_queue_is_refused_because_there_are_none(said: Any) -> None:
    assert "no queues" in said["queue"]["text"]
    assert "CASA_ENV_DASK_QUEUE" in said["queue"]["text"]
