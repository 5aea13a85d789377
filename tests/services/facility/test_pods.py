"""The facility's own pods, run by podman on a network of their own.

The images' programs are Debian's; Casa's environment is the one that the lock pins. A
pod is killed as by a crash, and podman starts it anew, as Kubernetes does.
"""

from __future__ import annotations

import copy
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coffea.processor import IterativeExecutor

from agc.hists.io import save_histograms
from agc.inputs.filesets import ttbar_fileset
from agc.ttbar.runs import run_ttbar
from support.dashboard import asked, given
from support.helm import Tools, named
from support.pods import Pods, pods

pytestmark = pytest.mark.slow

ORIGIN = "root://127.0.0.1:11094//store"
LAB = "casa-lab-pod-0-lab"
MLFLOW = "casa-mlflow-pod-0-mlflow"

#: What the last line says where a pod's end is the end of an analysis.
SENTENCES = {
    "casa-dask-scheduler": "Client lost the connection to the scheduler",
    "casa-mlflow": "MLflow",
    "casa-postgres": "MLflow",
}

#: Two of the nine datasets: enough to be in the middle of.
SOME = ("ttbar__nominal", "wjets__nominal")


@pytest.fixture(scope="module")
def facility(
    tools: Tools,
    chart: Path,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pods]:
    with pods(tmp_path_factory.mktemp("pods"), chart, tools, repository, {}) as started:
        yield started


def on_a_laptop(folder: Path, *datasets: str) -> bytes:
    """Return the histograms that one process gives, without a facility."""
    every = ttbar_fileset(0)
    fileset = {name: every[name] for name in datasets or every}
    executor = IterativeExecutor(status=False)
    result = run_ttbar(fileset, executor)
    file = folder / "laptop.json"
    save_histograms(result.histograms, file)
    return file.read_bytes()


def read(facility: Pods, file: str) -> bytes:
    """Return a file of the lab's home."""
    done = facility.execute(LAB, "cat", file)
    assert done.returncode == 0, done.stderr
    return done.stdout.encode()


def variables(repository: Path) -> list[str]:
    folders = f"{repository / 'notebooks'}:{repository / 'tests'}"
    return [f"--env=PYTHONPATH={folders}", "--env=GIT_PYTHON_REFRESH=quiet"]


@pytest.fixture(scope="module")
def some(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return on_a_laptop(tmp_path_factory.mktemp("laptop"), *SOME)


def test_the_same_notebook_gives_the_same_histograms_as_on_a_laptop(
    facility: Pods, repository: Path, tmp_path: Path
) -> None:
    notebook = repository / "notebooks" / "agc-ttbar.ipynb"
    before = notebook.read_bytes()
    words = ["casa-env", "run", "/srv/casa/notebooks/agc-ttbar.ipynb"]
    words += ["--output", "/home/jovyan/n.ipynb"]
    words += ["-p", "OUTPUT_FOLDER=/home/jovyan/results"]
    done = facility.execute(LAB, *words, GIT_PYTHON_REFRESH="quiet")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert notebook.read_bytes() == before
    found = read(facility, "/home/jovyan/results/histograms.json")
    assert found == on_a_laptop(tmp_path)
    # it was the facility that computed
    assert "Receive client connection" in facility.log("casa-dask-scheduler")


FIGURES = """\
import urllib.request
for page in ("casa-dask-scheduler:8787", "127.0.0.1:8790"):
    print(urllib.request.urlopen(f"http://{page}/metrics").read().decode())
"""


def test_dask_gives_the_figures_that_the_dashboard_asks_for(facility: Pods) -> None:
    done = facility.execute(LAB, "python", "-P", "-c", FIGURES)
    assert done.returncode == 0, done.stderr
    wanted = {name for name in asked() if name.startswith("dask_")}
    assert len(wanted) >= 5
    assert wanted <= given(done.stdout)


def recorded(facility: Pods, repository: Path, called: str) -> list[str]:
    """Record twenty runs at once; return their numbers."""
    program = ["python", "-P", "-m", "support.recording_user", "20", called]
    done = facility.attempt("exec", *variables(repository), LAB, *program, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return list(json.loads(done.stdout.splitlines()[-1]))


QUERY = """\
import sys
from mlflow.tracking import MlflowClient
client = MlflowClient("http://casa-mlflow.casa:5000")
experiment = client.get_experiment_by_name(sys.argv[1])
runs = client.search_runs([experiment.experiment_id], max_results=100)
for run in runs:
    steps = client.get_metric_history(run.info.run_id, "loss")
    print(run.info.run_id, run.info.status, run.data.params["name"], len(steps))
"""


def there(facility: Pods, called: str) -> list[list[str]]:
    """Return what the server has of an experiment's runs."""
    done = facility.execute(LAB, "python", "-P", "-c", QUERY, called)
    assert done.returncode == 0, done.stderr[-3000:]
    return sorted(line.split() for line in done.stdout.splitlines())


def database(facility: Pods, query: str) -> str:
    words = ["psql", "-h", "127.0.0.1", "-U", "mlflow", "-d", "mlflow", "-Atc", query]
    done = facility.execute("casa-postgres-pod-0-postgres", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def job(facility: Pods, documents: list[dict[str, Any]], name: str) -> str:
    """Run the pod of a job to its end; return what it wrote."""
    jobs = named(documents, "CronJob") | named(documents, "Job")
    (spec,) = (made["spec"] for key, made in jobs.items() if key.startswith(name))
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
    pod["spec"] = copy.deepcopy(spec["template"]["spec"])
    configured = named(documents, "ConfigMap")["casa-postgres"]
    facility.play([configured, pod])
    container = f"{name}-backup"
    code = facility.podman("wait", container).strip()
    log = facility.attempt("logs", container)
    facility.podman("pod", "rm", "--force", name)
    assert code == "0", log.stdout + log.stderr
    return log.stdout


def test_twenty_runs_at_once_are_all_recorded_backed_up_and_restored(
    facility: Pods, repository: Path, tools: Tools, chart: Path
) -> None:
    runs = recorded(facility, repository, "kept")
    before = there(facility, "kept")
    assert [one[0] for one in before] == sorted(set(runs))
    assert len(runs) == 20
    assert {(one[1], one[3]) for one in before} == {("FINISHED", "20")}
    # it is PostgreSQL that has them, and the object store their files
    assert database(facility, "select count(*) from params where key = 'name'") == "20"
    objects = facility.folder / "objects" / "casa-mlflow"
    assert len(list(objects.rglob("name.txt"))) == 20

    said = job(facility, facility.documents, "casa-postgres-backup")
    (file,) = (line.rpartition("/")[2] for line in said.splitlines())
    recorded(facility, repository, "after")
    database(facility, "drop table metrics cascade; delete from params")
    values = ["--values", str(chart / "values-laptop.yaml")]
    values += ["--values", str(facility.folder / "given.yaml")]
    documents = tools.render(chart, *values, "--set", f"postgres.restore={file}")
    assert f"restored {file}" in job(facility, documents, "casa-postgres-restore")
    assert there(facility, "kept") == before
    names = database(facility, "select name from experiments").splitlines()
    assert "kept" in names
    assert "after" not in names


@pytest.mark.parametrize(
    "killed",
    [
        "casa-dask-worker",
        "casa-xcache-0",
        "casa-postgres",
        "casa-mlflow",
        "casa-dask-scheduler",
    ],
)
def test_killing_a_pod_gives_the_same_result_or_a_clear_sentence(
    facility: Pods, repository: Path, some: bytes, killed: str
) -> None:
    file = f"/home/jovyan/{killed}.json"
    program = ["python", "-P", "-m", "support.facility_user", file, ORIGIN, *SOME]
    command = ["podman", "exec", *variables(repository), LAB, *program]
    process = subprocess.Popen(
        facility.inside(*command),
        env=facility.environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line == "started\n":
            break
    time.sleep(1)
    container, *_ = facility.containers(killed)
    facility.kill(container)
    said, complained = process.communicate(timeout=300)
    if process.returncode == 0:
        told = json.loads(said.splitlines()[-1])
        assert "casa-xcache-0.casa" in told["read"]
        assert read(facility, file) == some
        return
    # workers and the cache cost nothing but time; for the others there is a sentence
    assert killed in SENTENCES, complained[-3000:]
    assert SENTENCES[killed] in complained.strip().splitlines()[-1]


def test_what_is_read_stays_in_the_cache(facility: Pods) -> None:
    words = ["find", "/var/cache/xcache", "-name", "ttbar__nominal.root"]
    done = facility.execute("casa-xcache-0-pod-0-xcache", *words)
    assert "ttbar__nominal.root" in done.stdout
