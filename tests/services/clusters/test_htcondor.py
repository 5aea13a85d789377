"""HTCondor: its own parser, and the stock HTCondorCluster driving a stand-in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from casa_env import dask_client
from casa_env.errors import ClusterError
from support import condor
from support.strangers import NOBODY, answers


def still_there(jobs: Path) -> list[str]:
    """Return the jobs that wait or run."""
    numbers = [f"{job.stem}.0" for job in jobs.glob("*.json")]
    return condor.shown(jobs, "condor_q", numbers)


def test_the_stock_cluster_starts_and_stops_real_processes(on_condor: Path) -> None:
    with dask_client(workers=2) as client:
        # Not imported above: dask_jobqueue makes Ctrl-C end the process.
        assert type(client.cluster) is sys.modules["dask_jobqueue"].HTCondorCluster
        assert client.scheduler.address.startswith("tls://")
        client.wait_for_workers(2, timeout=60)
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        assert len(still_there(on_condor)) == 2
    assert still_there(on_condor) == []


@pytest.mark.fault("security", "another user opens a batch cluster's page", "no answer")
@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as a second user")
@pytest.mark.usefixtures("on_condor")
def test_a_login_nodes_other_users_do_not_see_the_schedulers_page() -> None:
    with dask_client(scheduler_options={"idle_timeout": "1h"}) as client:
        scheduler = client.cluster.scheduler
        assert scheduler.idle_timeout == 3600
        assert answers(0, scheduler.http_server.port) == {"200"}
        assert answers(NOBODY, scheduler.http_server.port) == {""}


def test_a_job_that_no_machine_takes_is_an_error_with_the_queues_reason(
    on_condor: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_JOB_DIRECTIVES", "requirements = False")
    monkeypatch.setenv("CASA_ENV_DASK_WAIT_S", "3")
    with pytest.raises(ClusterError) as caught:
        dask_client()
    assert caught.value.kind == "workers"
    assert "1 pending (idle: no machine has taken it)" in caught.value.looked_at
    assert still_there(on_condor) == []


@pytest.mark.usefixtures("on_condor")
def test_a_queue_is_refused_because_there_are_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CASA_ENV_DASK_QUEUE", "short")
    with pytest.raises(ClusterError, match="no queues") as caught:
        dask_client()
    assert "CASA_ENV_DASK_QUEUE" in caught.value.looked_at
