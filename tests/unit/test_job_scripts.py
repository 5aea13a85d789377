"""The text of batch jobs, and of what batch systems say, for those not at hand."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from casa_env import batch_backend, load_settings, queues
from casa_env.errors import ClusterError
from casa_env.queues import Job

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
    program(on_path, SUBMIT[backend], "echo 'Job <123> is submitted; 123.host 123'")
    program(on_path, "condor_submit", "echo '1 job(s) submitted to cluster 123.'")
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
    with batch_backend.cluster(load_settings(**settings)) as cluster:
        script = cluster.job_script()
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


def test_a_line_that_htcondor_cannot_have_is_refused(on_path: Path) -> None:
    program(on_path, "condor_submit")
    settings = load_settings(dask_backend="htcondor", dask_job_directives=["no value"])
    with pytest.raises(ClusterError, match="no line of an HTCondor job"):
        batch_backend.cluster(settings)


SAID = [
    (
        queues.slurm_jobs,
        "7|PENDING|Resources\n8|RUNNING|None\n9|NODE_FAIL|None\n10|COMPLETED|None\n",
        {
            "7": ("pending", "Resources"),
            "8": ("running", "None"),
            "9": ("failed", "NODE_FAIL, None"),
            "10": ("ended", "None"),
        },
    ),
    (
        queues.htcondor_jobs,
        (
            "7 0 1 undefined undefined\n8 0 2 undefined undefined\n"
            "9 0 5 undefined Error from slot1: no space left\n10 0 4 127 undefined\n"
            "11 0 4 0 undefined\n"
        ),
        {
            "7.0": ("pending", "idle: no machine has taken it"),
            "8.0": ("running", ""),
            "9.0": ("failed", "held: Error from slot1: no space left"),
            "10.0": ("failed", "exit code 127"),
            "11.0": ("ended", ""),
        },
    ),
    (
        queues.pbs_jobs,
        (
            '{"Jobs": {"7.pbs": {"job_state": "Q", "comment": "Not Running: no nodes"},'
            ' "8.pbs": {"job_state": "R"}, "9.pbs": {"job_state": "F",'
            ' "Exit_status": 1}}}'
        ),
        {
            "7": ("pending", "Not Running: no nodes"),
            "8": ("running", ""),
            "9": ("failed", "exit code 1"),
        },
    ),
    (
        queues.lsf_jobs,
        "7|PEND|-|New job is waiting for scheduling;\n8|RUN|-|-\n9|EXIT|130|-\n",
        {
            "7": ("pending", "New job is waiting for scheduling;"),
            "8": ("running", ""),
            "9": ("failed", "exit code 130"),
        },
    ),
    (
        queues.sge_jobs,
        (
            "job-ID prior name user state submit/start at queue slots\n"
            "-----------------------------------------------------\n"
            "7 0.5 casa alice qw 11/24/2026 10:00:00 1\n"
            "8 0.5 casa alice r 11/24/2026 10:00:00 all.q@host 1\n"
            "9 0.5 casa alice Eqw 11/24/2026 10:00:00 1\n"
        ),
        {"7": ("pending", "qw"), "8": ("running", ""), "9": ("failed", "Eqw")},
    ),
]


@pytest.mark.parametrize(
    ("read", "said", "expected"), SAID, ids=[row[0].__name__ for row in SAID]
)
def test_what_a_batch_system_says_is_understood(
    read: Any, said: str, expected: dict[str, tuple[str, str]]
) -> None:
    assert read(said) == {
        number: Job(number=number, state=state, reason=reason)
        for number, (state, reason) in expected.items()
    }


@pytest.mark.parametrize("backend", SUBMIT)
def test_a_batch_system_that_does_not_answer_says_nothing(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert queues.read_queue(backend, ["7"]) == []
