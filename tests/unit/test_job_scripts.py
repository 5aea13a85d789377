"""The text of batch jobs, and of what batch systems say, for those not at hand."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import dask
import pytest

from casa_env import dask_client, dask_cluster, load_settings
from casa_env.errors import ClusterError
from casa_env.workers.waiting import Job, read_queue

SUBMIT = {"slurm": "sbatch", "pbs": "qsub", "lsf": "bsub", "sge": "qsub"}
SUBMIT["htcondor"] = "condor_submit"

#: By back end: lines of the header for a queue, an account, 90 minutes and one more.
HEADERS = {
    "slurm": ["#SBATCH -p short", "#SBATCH -A cms", "#SBATCH -t 01:30:00"],
    "pbs": ["#PBS -q short", "#PBS -A cms", "#PBS -l walltime=01:30:00"],
    "lsf": ["#BSUB -q short", '#BSUB -P "cms"', "#BSUB -W 01:30"],
    "sge": ["#$ -q short", "#$ -P cms", "#$ -l h_rt=01:30:00"],
    "htcondor": ["accounting_group = cms", "allowed_job_duration = 5400"],
}
MORE = {
    "slurm": ("--oversubscribe", "#SBATCH --oversubscribe"),
    "pbs": ("-j oe", "#PBS -j oe"),
    "lsf": ("-x", "#BSUB -x"),
    "sge": ("-j y", "#$ -j y"),
    "htcondor": ('+JobFlavour = "longlunch"', '+JobFlavour = "longlunch"'),
}

ANSWERS = {
    "slurm": "Submitted batch job 123",
    "pbs": "123.host",
    "lsf": "Job <123> is submitted to queue <short>.",
    "sge": 'Your job 123 ("casa") has been submitted',
    "htcondor": "1 job(s) submitted to cluster 123.",
}


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a folder for programs on PATH, before all others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def program(folder: Path, name: str, text: str = "") -> None:
    """Make a program."""
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(stat.S_IRWXU)


@pytest.mark.parametrize("backend", HEADERS)
def test_a_job_script_has_what_the_settings_say(backend: str, on_path: Path) -> None:
    program(on_path, SUBMIT[backend], f"echo '{ANSWERS[backend]}'")
    for cancel in ("scancel", "qdel", "bkill", "condor_rm"):
        program(on_path, cancel)
    settings: dict[str, Any] = {
        "dask_backend": backend,
        "dask_account": "cms",
        "dask_walltime_s": 5400,
        "dask_worker_threads": 2,
        "dask_worker_memory_bytes": "3 GB",
        "dask_worker_python": "/opt/casa/bin/python",
        "dask_interface": "lo",
        "dask_job_directives": [MORE[backend][0]],
    }
    if backend != "htcondor":
        settings["dask_queue"] = "short"
    with dask_cluster(settings=load_settings(**settings)):  # imports Dask's defaults
        site = {f"jobqueue.{backend}.worker-extra-args": ["--lifetime", "1h"]}
        with (
            dask.config.set(site),
            dask_cluster(settings=load_settings(**settings)) as cluster,
        ):
            script = cluster.job_script()
    quiet = "--no-dashboard --dashboard-address 127.0.0.1:0"  # not to all the network
    assert f" {quiet} --lifetime 1h " in script
    for line in (*HEADERS[backend], MORE[backend][1]):
        assert line in script.splitlines()
    assert "/opt/casa/bin/python -m distributed.cli.dask_worker tls://" in script
    assert "--nthreads 2" in script
    assert "--tls-ca-file" in script
    assert "BEGIN" not in script  # the names of the keys' files, never the keys
    if backend == "htcondor":
        import htcondor2

        parsed = htcondor2.Submit(script)  # HTCondor's own parser
        assert parsed["RequestCpus"] == "MY.DaskWorkerCores"
        assert parsed["allowed_job_duration"] == "5400"


@pytest.mark.fault(
    "silently wrong", "a banner with numbers before the job's", "the true number"
)
@pytest.mark.parametrize("backend", HEADERS)
def test_the_number_of_a_job_is_found_below_a_banner(
    backend: str, on_path: Path
) -> None:
    banner = "echo 'Welcome to Example-3, login2'; echo '99 jobs wait'"
    program(on_path, SUBMIT[backend], f"{banner}\necho '{ANSWERS[backend]}'")
    for cancel in ("scancel", "qdel", "bkill", "condor_rm"):
        program(on_path, cancel)
    settings = load_settings(
        dask_backend=backend,
        dask_interface="lo",
        dask_worker_python="/a clone/bin/python",
    )
    with dask_cluster(settings=settings) as cluster:
        (job,) = cluster.workers.values()
        assert job.job_id in ("123", "123.0")
        script = cluster.job_script().replace("''", "'")
        assert "'/a clone/bin/python' -m distributed" in script


def test_an_answer_that_is_not_understood_is_quoted(on_path: Path) -> None:
    program(on_path, "sbatch", "echo 'Welcome to Example-3'")
    settings = load_settings(dask_backend="slurm", dask_interface="lo")
    with pytest.raises(ClusterError, match="Welcome to Example-3"):
        dask_cluster(settings=settings)


def test_a_line_that_htcondor_cannot_have_is_refused(on_path: Path) -> None:
    program(on_path, "condor_submit")
    settings = load_settings(dask_backend="htcondor", dask_job_directives=["no value"])
    with pytest.raises(ClusterError, match="no line of an HTCondor job"):
        dask_cluster(settings=settings)


SQUEUE = r"7|PENDING|Resources\n8|RUNNING|None\n9|NODE_FAIL|None\n10|COMPLETED|None"
CONDOR_Q = (
    r"7 0 1 undefined undefined\n8 0 2 undefined undefined\n"
    r"9 0 5 undefined Error from slot1: no space left\n"
)
CONDOR_HISTORY = r"10 0 4 127 undefined\n11 0 4 0 undefined"


def test_what_slurm_tells_is_understood(on_path: Path) -> None:
    program(on_path, "squeue", f"printf '{SQUEUE}'")
    program(on_path, "scontrol", 'echo "JobId=$3 ExitCode=1:9"')
    assert read_queue("slurm", ["7", "8", "9", "10", "11"]) == [
        Job("7", "pending", "Resources"),
        Job("8", "running", "None"),
        Job("9", "failed", "NODE_FAIL, None, exit code 1, signal 9"),
        Job("10", "ended", "None"),
        Job("11", "ended"),
    ]


def test_what_htcondor_tells_is_understood(on_path: Path) -> None:
    program(on_path, "condor_q", f"printf '{CONDOR_Q}'")
    program(on_path, "condor_history", f"printf '{CONDOR_HISTORY}'")
    numbers = ["7.0", "8.0", "9.0", "10.0", "11.0", "12.0"]
    assert read_queue("htcondor", numbers) == [
        Job("7.0", "pending", "idle: no machine has taken it"),
        Job("8.0", "running"),
        Job("9.0", "failed", "held: Error from slot1: no space left"),
        Job("10.0", "failed", "exit code 127"),
        Job("11.0", "ended"),
        Job("12.0", "ended"),
    ]


@pytest.mark.parametrize("backend", SUBMIT)
def test_a_batch_system_that_does_not_answer_says_nothing(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert read_queue(backend, ["7"]) == []


def test_another_batch_systems_own_words_are_shown_as_they_are(on_path: Path) -> None:
    program(on_path, "qsub", "echo 123.host")
    program(on_path, "qdel")
    program(on_path, "qstat", 'echo "$@: Not Running: no nodes"')
    settings = load_settings(
        dask_backend="pbs", dask_interface="lo", dask_wait_s=0.1, dask_workers=2
    )
    with pytest.raises(ClusterError, match="0 of 1 workers came") as caught:
        dask_client(settings=settings)
    assert "123 123: Not Running: no nodes" in caught.value.looked_at
