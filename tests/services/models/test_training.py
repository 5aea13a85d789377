"""The training and its models, from truth to registry, and back into the analysis."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from coffea.processor import IterativeExecutor
from distributed import Client, LocalCluster
from PIL import Image

from agc.errors import AnalysisError
from agc.inputs.filesets import standin_fileset
from agc.ttbar.ml import training_plots
from agc.ttbar.ml.model_store import (
    ALIASES,
    MODEL_NAME,
    jet_models,
    register_models,
    registered_models,
    save_models,
    shipped_models,
)
from agc.ttbar.ml.search import Result, best, search
from agc.ttbar.ml.training import Hyperparameters, Training, candidates
from agc.ttbar.ml.training_data import TRAINING_DATASET, TrainingData, training_data
from casa_env import mlflow_run
from casa_env.models.mlflow import run_info

pytestmark = [
    pytest.mark.slow,
    # MLflow 3.17's own use of SQLAlchemy and of itself.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow"),
    # MLflow 3.17 of its own wrapper of XGBoost's models.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred:UserWarning"),
]

QUICK = [Hyperparameters(n_estimators=20), Hyperparameters(n_estimators=30)]


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return training_data(standin_fileset(), IterativeExecutor(status=False))


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=2, **options) as site, Client(site) as client:
        yield client


@pytest.fixture
def laptop(clean_environment: Path, made_database: Path) -> Path:
    folder = clean_environment / ".local" / "state" / "casa-env" / "mlflow"
    folder.mkdir(parents=True)
    shutil.copy(made_database, folder / "mlflow.db")
    return folder


def test_a_training_can_be_found_again_by_its_runs_id(
    laptop: Path, client: Client, data: TrainingData, tmp_path: Path
) -> None:
    fileset = {TRAINING_DATASET: standin_fileset()[TRAINING_DATASET]}
    with mlflow_run("training", fileset=fileset) as run:
        results = search(client, run, data, QUICK)
        versions = register_models(best(results).training)
    assert [result.training.hyperparameters for result in results] == QUICK
    assert set(versions) == set(ALIASES)
    save_models(best(results).training, tmp_path / "models")
    recipe = tmp_path / "models" / "recipe.json"
    models = best(results).training.models
    assert registered_models(recipe) == models == jet_models(str(recipe))
    trial = mlflow.MlflowClient().get_run(results[0].trial.run_id)
    assert trial.info.status == "FINISHED"
    history = mlflow.MlflowClient().get_metric_history(
        results[0].trial.run_id, "log_loss.trained_on_even"
    )
    assert [one.step for one in history] == list(range(20))

    info = run_info(run.info.run_id)
    assert info["status"] == "FINISHED"
    assert len(info["models"]) == 2
    assert all(MODEL_NAME in name for name in info["models"])
    environ = os.environ | {"HOME": str(laptop.parents[3])}
    command = [sys.executable, "-m", "casa_env", "info", "--run", run.info.run_id]
    text = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True
    ).stdout
    for shown in (
        run.info.run_id,
        info["environment_id"],
        info["git_commit"],
        f"fileset_sha256: {info['fileset_sha256']}",
        f"runs:/{run.info.run_id}/casa/lab.lock",
        "(trained_on_even)",
        "(trained_on_odd)",
    ):
        assert shown in text
    for model in info["models"]:
        assert model in text
        uri = model.split()[0]
        folder = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path))
        assert (Path(folder) / "MLmodel").exists()
    missing = subprocess.run(
        [*command[:-1], "0" * 32],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 1
    assert "There is no run" in missing.stderr


def test_interrupting_a_search_leaves_its_runs_killed_not_running(
    laptop: Path, client: Client, data: TrainingData
) -> None:
    assert laptop.is_dir()
    endless = [Hyperparameters(n_estimators=100_000) for _ in range(3)]
    begun: list[str] = []

    def interrupt() -> None:
        """Press Ctrl-C once a trial computes."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = statuses(begun[0]) if begun else []
            # A trial that is just made counts as running, too, for a moment.
            if len(found) == len(endless) and found.count("SCHEDULED") == 1:
                break
            time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    def interrupted() -> None:
        with mlflow_run("training") as run:
            begun.append(run.info.run_id)
            threading.Thread(target=interrupt).start()
            search(client, run, data, endless)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert statuses(begun[0]) == ["KILLED"] * 3
    assert mlflow.MlflowClient().get_run(begun[0]).info.status == "KILLED"
    deadline = time.monotonic() + 120
    while any(client.processing().values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(client.processing().values())
    assert statuses(begun[0]) == ["KILLED"] * 3


def statuses(run_id: str) -> list[str]:
    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    trials = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    return [trial.info.status for trial in trials]


@pytest.fixture(scope="module")
def result(data: TrainingData) -> Result:
    from agc.served.runs import Trial
    from agc.ttbar.ml.training import assess, train

    learned, untouched = data.split()
    training = train(learned, candidates(1)[0])
    trial = Trial(uri="", run_id="", name="trial-0")
    return Result(trial, training, assess(untouched, training.models))


def test_the_shipped_models_are_what_their_recipe_makes(result: Result) -> None:
    from agc.ttbar.ml.jet_assignment import permutation_scores
    from agc.ttbar.ml.model_store import SHIPPED_FOLDER

    recipe = json.loads((SHIPPED_FOLDER / "recipe.json").read_text())
    assert recipe["hyperparameters"] == result.training.parameters
    assert recipe["quality"]["log_loss"] == pytest.approx(
        result.quality.log_loss, rel=1e-3
    )
    size = sum(path.stat().st_size for path in SHIPPED_FOLDER.iterdir())
    assert size <= 2_000_000
    # Other processors may round differently, and a split may then be another one.
    rows = np.zeros((12, 20), np.float32)
    scores = [
        permutation_scores(models, np.array([0]), np.array([4]), rows)
        for models in (shipped_models(), result.training.models)
    ]
    np.testing.assert_allclose(*scores, rtol=0.05)


def test_the_models_do_better_than_the_largest_pt(result: Result) -> None:
    quality = result.quality
    assert quality.trijet_efficiency > quality.largest_trijet_efficiency + 0.15
    assert quality.auc > 0.95


def test_models_that_were_changed_are_refused(result: Result, tmp_path: Path) -> None:
    save_models(result.training, tmp_path)
    assert shipped_models(tmp_path) == result.training.models
    with (tmp_path / "trained_on_odd.ubj").open("ab") as file:
        file.write(b"x")
    with pytest.raises(AnalysisError, match="is not the model"):
        shipped_models(tmp_path)
    with pytest.raises(AnalysisError, match="cannot be used"):
        shipped_models(tmp_path / "nowhere")
    with pytest.raises(AnalysisError, match=r'"shipped", or those of a recipe.json'):
        jet_models("best")


@pytest.fixture
def recipe(laptop: Path, tmp_path: Path) -> Path:
    """Return the recipe of models that are registered on the laptop."""
    assert laptop.is_dir()
    training = Training(Hyperparameters(), shipped_models(), {})
    save_models(training, tmp_path)
    with mlflow_run("training"):
        register_models(training)
    return tmp_path / "recipe.json"


@pytest.mark.fault(
    "models", "a registry's model brings a loader", "it does not run; both checksums"
)
def test_nothing_that_comes_with_a_registered_model_runs(
    laptop: Path, recipe: Path, tmp_path: Path
) -> None:
    found, wanted = changed(laptop, recipe)
    proof = tmp_path / "ran"
    planted = f"open({str(proof)!r}, 'w')\nfrom xgboost import Booster"
    for file in laptop.rglob("MLmodel"):
        (file.parent / "code").mkdir()
        (file.parent / "code" / "planted.py").write_text(planted)
        described = yaml.safe_load(file.read_text())
        loader = {"code": "code", "model_class": "planted.Booster"}
        described["flavors"]["xgboost"] |= loader
        file.write_text(yaml.safe_dump(described))
    with pytest.raises(AnalysisError, match=f"not loaded: its .*{found}, not {wanted}"):
        jet_models(str(recipe))
    assert not proof.exists()


@pytest.mark.fault(
    "models", "a byte and its checksum change in the registry", "both checksums"
)
def test_a_registrys_own_checksum_is_not_believed(laptop: Path, recipe: Path) -> None:
    found, wanted = changed(laptop, recipe)
    for file in laptop.rglob("MLmodel"):
        file.write_text(file.read_text().replace(wanted, found))
    with pytest.raises(AnalysisError, match=f"not loaded: its .*{found}, not {wanted}"):
        jet_models(str(recipe))


@pytest.mark.fault(
    "models", "an alias names another model", "an error that names both checksums"
)
def test_an_alias_that_moved_is_no_longer_the_recipes_model(recipe: Path) -> None:
    files = json.loads(recipe.read_text())["files"]
    even, odd = (files[f"{alias}.ubj"]["sha256"] for alias in ALIASES)
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias(MODEL_NAME, ALIASES[1]).version
    client.set_registered_model_alias(MODEL_NAME, ALIASES[0], version)
    with pytest.raises(AnalysisError, match=f"{odd}, not {even}: train and register"):
        jet_models(str(recipe))


def changed(registry: Path, recipe: Path) -> tuple[str, str]:
    """Flip a bit of the first registered model; return its SHA-256 and the old one."""
    wanted = json.loads(recipe.read_text())["files"][f"{ALIASES[0]}.ubj"]["sha256"]
    (file,) = (
        file
        for file in registry.rglob("model.ubj")
        if hashlib.sha256(file.read_bytes()).hexdigest() == wanted
    )
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return hashlib.sha256(content).hexdigest(), wanted


def test_every_plot_shows_something(
    data: TrainingData, result: Result, tmp_path: Path
) -> None:
    label = "Simulation by Casa, not CMS data"
    pictures = {
        "roc": training_plots.plot_roc(data, result.training, label=label),
        "progress": training_plots.plot_progress([result], label=label),
        "importances": training_plots.plot_importances(result.training, label=label),
        "efficiencies": training_plots.plot_efficiencies(result.quality, label=label),
    }
    for name, picture in pictures.items():
        picture.savefig(tmp_path / f"{name}.png", dpi=60)
        pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
