from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from distributed import Client, LocalCluster

from agc.served.runs import Trial, new_trial, resumed_run, trial_run
from casa_env import mlflow_run
from casa_env.doctor import mlflow as mlflow_check
from casa_env.errors import TrackingError
from casa_env.models.mlflow import tracking_uri
from casa_env.models.provenance import fileset_contents, fileset_digest
from casa_env.settings import Settings, load_settings
from casa_env.workers.sameness import environment_here
from support.gateways import http_gateway
from support.processes import free_port

NAME = "MLFLOW_TRACKING_AUTH"
FILESET = {"ttbar": {"files": {"root://eos.example.org//ttbar.root": "Events"}}}

pytestmark = [
    # MLflow 3.17's own use of SQLAlchemy and of itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
]


@pytest.fixture
def laptop(clean_environment: Path, made_database: Path) -> Path:
    """Return where a laptop's runs are, the database made already."""
    folder = clean_environment / ".local" / "state" / "casa-env" / "mlflow"
    folder.mkdir(parents=True)
    shutil.copy(made_database, folder / "mlflow.db")
    return folder


def at(url: str, **settings: object) -> Settings:
    return load_settings(mlflow_uri=url, **settings)  # type: ignore[arg-type]


def status(run_id: str) -> str:
    return str(mlflow.MlflowClient().get_run(run_id).info.status)


def test_on_a_laptop_runs_are_kept_below_the_state_home(
    laptop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = tmp_path / "picture.txt"
    picture.write_text("a picture")
    with mlflow_run("training", fileset=FILESET) as run:
        mlflow.log_metric("auc", 0.9)
        mlflow.log_artifact(str(picture))
    picture.unlink()
    assert run.info.artifact_uri.startswith((laptop / "artifacts").as_uri())
    assert status(run.info.run_id) == "FINISHED"
    assert list(tmp_path.iterdir()) == []


def test_a_run_says_where_its_result_comes_from(laptop: Path, repository: Path) -> None:
    assert laptop.is_dir()
    with mlflow_run("training", fileset=FILESET, tags={"who": "alice"}) as run:
        pass
    found = mlflow.MlflowClient().get_run(run.info.run_id)
    assert isinstance(run, mlflow.ActiveRun)
    tags = found.data.tags
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert tags["casa.git_commit"] == commit
    assert tags["casa.git_dirty"] in ("true", "false")
    assert tags["casa.environment_id"] == environment_here().id
    assert tags["casa.site"] == "local"
    assert len(tags["casa.fileset_sha256"]) == 64
    assert tags["who"] == "alice"
    folder = Path(mlflow.artifacts.download_artifacts(f"{run.info.artifact_uri}/casa"))
    lock = repository / "environment" / "lab.lock"
    assert (folder / "lab.lock").read_bytes() == lock.read_bytes()
    assert "mlflow==" in (folder / "packages.txt").read_text()
    settings = json.loads((folder / "settings.json").read_text())
    assert settings["timeout_s"] == {"value": "10.0", "source": "default"}
    files = json.loads((folder / "fileset.json").read_text())
    assert files == {"ttbar": [{"url": "root://eos.example.org//ttbar.root"}]}


def test_a_secret_is_not_recorded(laptop: Path) -> None:
    settings = load_settings({"BEARER_TOKEN": "s3cret-token"})
    with mlflow_run("training", settings=settings):
        pass
    written = [p for p in laptop.rglob("*") if p.is_file()]
    assert written
    assert not any(b"s3cret-token" in path.read_bytes() for path in written)


@pytest.mark.fault("mlflow", "a run is interrupted", "killed, not running")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_and_its_trials_are_killed_not_running(
    laptop: Path, error: type[BaseException]
) -> None:
    assert laptop.is_dir()
    begun: list[str] = []

    def interrupted() -> None:
        with mlflow_run("training") as run:
            trial = new_trial(run, "begun")
            begun.extend([run.info.run_id, trial.run_id])
            begun.append(new_trial(run, "waiting").run_id)
            with trial_run(trial):
                raise error

    with pytest.raises(error):
        interrupted()
    assert [status(run_id) for run_id in begun] == ["KILLED"] * 3


def test_an_error_in_a_run_is_a_failure_not_a_kill(laptop: Path) -> None:
    assert laptop.is_dir()
    with pytest.raises(ZeroDivisionError), mlflow_run("training") as run:
        raise ZeroDivisionError
    assert status(run.info.run_id) == "FAILED"


@pytest.mark.fault("mlflow", "a process is told to end", "no run seems to go on")
def test_a_process_that_is_told_to_end_leaves_no_run_that_seems_to_go_on(
    laptop: Path, tmp_path: Path, clean_environment: Path
) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from casa_env import mlflow_run\n"
        "with mlflow_run('training') as run:\n"
        "    pathlib.Path(sys.argv[1]).write_text(run.info.run_id)\n"
        "    time.sleep(600)\n"
    )
    note = tmp_path / "note"
    environ = os.environ | {"HOME": str(clean_environment)}
    process = subprocess.Popen([sys.executable, "-c", code, str(note)], env=environ)
    deadline = time.monotonic() + 120
    while not (note.exists() and note.read_text()) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    mlflow.set_tracking_uri(f"sqlite:///{laptop}/mlflow.db")
    assert status(note.read_text()) == "KILLED"


def test_a_run_can_be_gone_on_with(laptop: Path) -> None:
    assert laptop.is_dir()
    with mlflow_run("training") as run:
        pass
    with resumed_run(run.info.run_id):
        mlflow.log_metric("late", 1)
    found = mlflow.MlflowClient().get_run(run.info.run_id)
    assert (found.info.status, found.data.metrics["late"]) == ("FINISHED", 1)
    with pytest.raises(TrackingError, match="did not take the run"):
        resumed_run("0" * 32)


def in_a_trial(trial: Trial, value: float) -> int:
    with trial_run(trial):
        mlflow.log_metric("value", value)
        return os.getpid()


def test_parallel_trials_on_workers_land_in_their_own_runs(laptop: Path) -> None:
    assert laptop.is_dir()
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as site,
        Client(site) as client,
        mlflow_run("training") as run,
    ):
        trials = [new_trial(run, f"trial-{i}", {"number": i}) for i in range(6)]
        pids = client.gather(client.map(in_a_trial, trials, range(6), pure=False))
    assert len(set(pids)) == 2
    for number, trial in enumerate(trials):
        found = mlflow.MlflowClient().get_run(trial.run_id)
        assert found.info.status == "FINISHED"
        assert found.data.metrics == {"value": number}
        assert found.data.params == {"number": str(number)}
        assert found.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert mlflow.MlflowClient().get_run(run.info.run_id).data.metrics == {}


def test_a_trial_that_was_killed_stays_so(laptop: Path) -> None:
    assert laptop.is_dir()
    with mlflow_run("training") as run:
        trial, other = new_trial(run, "killed before"), new_trial(run, "killed within")
        client = mlflow.MlflowClient()
        client.set_terminated(trial.run_id, "KILLED")
        with (
            pytest.raises(TrackingError, match="as killed") as before,
            trial_run(trial),
        ):
            pytest.fail("it was killed before it began")
        with (
            pytest.raises(TrackingError, match="as killed") as within,
            trial_run(other),
        ):
            client.set_terminated(other.run_id, "KILLED")
    assert before.value.kind == within.value.kind == "killed"
    assert status(trial.run_id) == status(other.run_id) == "KILLED"


def test_a_server_gets_the_token_that_is_valid_now(
    tracking_server: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first-token")
    with http_gateway(tracking_server, "first-token") as gateway:
        settings = at(
            gateway.url, bearer_token_file=str(token), token_hosts=["127.0.0.1"]
        )
        with mlflow_run("training", settings=settings) as run:
            mlflow.log_metric("before", 1)
            gateway.accepted.clear()
            gateway.accepted.add("second-token")
            token.write_text("second-token\n")
            seen = len(gateway.seen)
            mlflow.log_metric("after", 2)
        assert set(gateway.seen[seen:]) == {"Bearer second-token"}
        assert os.environ.get("MLFLOW_TRACKING_TOKEN") is None
    mlflow.set_tracking_uri(tracking_server)
    found = mlflow.MlflowClient().get_run(run.info.run_id)
    assert found.data.metrics == {"before": 1, "after": 2}
    assert found.info.status == "FINISHED"


@pytest.mark.fault(
    "security", "an MLflow server that is not on the list", "it gets no token"
)
def test_no_token_goes_to_a_host_that_is_not_on_the_sites_list(
    tracking_server: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("the-token")
    with (
        http_gateway(tracking_server, "the-token") as trusted,
        http_gateway(tracking_server, "the-token") as foreign,
    ):
        host = trusted.url.partition("://")[2]
        settings = at(trusted.url, bearer_token_file=str(token), token_hosts=[host])
        with mlflow_run("training", settings=settings):
            other = mlflow.MlflowClient(foreign.url)
            with pytest.raises(mlflow.MlflowException):
                other.get_experiment_by_name("training")
        assert "Bearer the-token" in trusted.seen
        assert set(foreign.seen) == {""}


PLAIN = """
import mlflow
with mlflow.start_run() as run:
    mlflow.log_metric("auc", 0.9)
print(run.info.run_id)
"""


def plain_run(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a script that knows nothing of casa_env."""
    return subprocess.run(
        [sys.executable, "-c", PLAIN],
        cwd=folder,
        env=os.environ | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_plain_run_of_mlflows_is_tagged_and_authenticated_too(
    tracking_server: str, tmp_path: Path, repository: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("the-token")
    with http_gateway(tracking_server, "the-token") as gateway:
        where = {
            "MLFLOW_TRACKING_URI": gateway.url,
            "BEARER_TOKEN_FILE": str(token),
            "CASA_ENV_TOKEN_HOSTS": "127.0.0.1",
        }
        done = plain_run(repository, **where)
        assert done.returncode == 0, done.stderr
        assert set(gateway.seen) == {"Bearer the-token"}
        gateway.seen.clear()
        foreign = plain_run(repository, **where | {"CASA_ENV_TOKEN_HOSTS": "x.org"})
        assert foreign.returncode != 0
        own = plain_run(repository, **where, MLFLOW_TRACKING_TOKEN="their-own")  # noqa: S106 - none
        assert own.returncode != 0
        assert set(gateway.seen) == {"", "Bearer their-own"}
    mlflow.set_tracking_uri(tracking_server)
    tags = mlflow.MlflowClient().get_run(done.stdout.split()[-1]).data.tags
    # Not this process's own id: other tests have shipped code to it.
    assert re.fullmatch("[0-9a-f]{12}", tags["casa.environment_id"])
    assert tags["casa.site"] == "local"
    assert len(tags["casa.git_commit"]) == 40


def test_who_names_another_way_to_authenticate_has_it() -> None:
    code = (
        "import mlflow; print(mlflow.environment_variables.MLFLOW_TRACKING_AUTH.get())"
    )
    command = [sys.executable, "-c", code]
    for environ, expected in (({}, "casa-env"), ({NAME: "mine"}, "mine")):
        done = subprocess.run(
            command,
            env=os.environ | environ,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


def test_outside_of_a_repository_and_with_wrong_settings_a_run_starts_all_the_same(
    laptop: Path, tmp_path: Path
) -> None:
    done = plain_run(
        tmp_path,
        MLFLOW_TRACKING_URI=f"sqlite:///{laptop}/mlflow.db",
        CASA_ENV_TIMEOUT_S="soon",
    )
    assert done.returncode == 0, done.stderr
    assert "CASA_ENV_TIMEOUT_S" in done.stderr


@pytest.mark.fault("mlflow", "the server refuses our token", "what to do, and no token")
def test_a_server_that_refuses_us_says_what_to_do_and_shows_no_token(
    tracking_server: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("wrong-token")
    with http_gateway(tracking_server, "right-token") as gateway:
        settings = at(
            gateway.url, bearer_token_file=str(token), token_hosts=["127.0.0.1"]
        )
        with pytest.raises(TrackingError, match="refused us") as caught:
            mlflow_run("training", settings=settings)
    assert "token_hosts" in caught.value.next_step
    assert "wrong-token" not in str(caught.value)


@pytest.mark.fault("mlflow", "the server is down", "an error in time")
def test_a_server_that_is_down_is_an_error_within_the_time_given() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TrackingError, match="does not answer") as caught:
        mlflow_run("training", settings=at(url, timeout_s=2))
    assert url in caught.value.looked_at


def test_the_doctor_tells_the_servers_version_and_whether_it_takes_our_token(
    tracking_server: str, tmp_path: Path
) -> None:
    found = mlflow_check(at(tracking_server))
    assert found.status == "ok"
    assert f"MLflow {mlflow.__version__} answered" in found.evidence
    token = tmp_path / "token"
    token.write_text("wrong-token")
    with http_gateway(tracking_server, "right-token") as gateway:
        refused = mlflow_check(
            at(gateway.url, bearer_token_file=str(token), token_hosts=["127.0.0.1"])
        )
    assert refused.status == "failed"
    assert "refused us" in refused.evidence
    assert "wrong-token" not in repr(refused)


def test_inputs_have_one_digest_wherever_they_lie(tmp_path: Path) -> None:
    digests = set()
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "f.root").write_bytes(b"events")
        digests.add(fileset_digest({"a": [str(tmp_path / place / "f.root")]}))
    assert len(digests) == 1
    file = str(tmp_path / "here" / "f.root")
    for shape in ({file: "Events"}, {"files": {file: "Events"}}, {"files": [file]}):
        digests.add(fileset_digest({"a": shape}))
    assert len(digests) == 1
    (tmp_path / "there" / "f.root").write_bytes(b"others")
    digests.add(fileset_digest({"a": [str(tmp_path / "there" / "f.root")]}))
    assert len(digests) == 2
    described = fileset_contents({"a": [str(tmp_path / "here" / "f.root")]})
    sha256 = hashlib.sha256(b"events").hexdigest()
    assert described == {"a": [{"name": "f.root", "bytes": 6, "sha256": sha256}]}


def test_the_store_is_the_sites_where_it_names_one() -> None:
    assert tracking_uri(at("https://mlflow.example.org")).startswith("https://")
