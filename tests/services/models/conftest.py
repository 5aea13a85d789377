"""Servers that the tests of tracking and inference share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from agc.served.repository import write_model_repository
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.jet_assignment import AssignmentModels
from agc.ttbar.ml.model_store import MODEL_NAME, model_versions, shipped_models
from casa_env.models.mlflow import Plugin
from support.assignment import all_features, chunk_of, standin_arrays
from support.mlflow_server import mlflow_server
from support.triton import Triton, triton

if TYPE_CHECKING:
    import numpy as np


class Features(NamedTuple):
    """Events and the features of their permutations."""

    event: np.ndarray
    n_jets: np.ndarray
    offsets: np.ndarray
    rows: np.ndarray


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of an MLflow server that lets anybody in."""
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as url:
        yield url


@pytest.fixture(scope="session")
def made_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite database of MLflow's: making one takes many seconds."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    folder = tmp_path_factory.mktemp("store")
    SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"))
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def forgetful_mlflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let MLflow forget the store and settings that it has for the whole process."""
    import mlflow

    monkeypatch.setattr(Plugin, "settings", None)
    yield
    while mlflow.active_run():
        mlflow.end_run("FAILED")
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="session")
def jet_models() -> AssignmentModels:
    """Return the models that come with the notebooks."""
    return shipped_models()


@pytest.fixture(scope="session")
def repository_of_models(
    tmp_path_factory: pytest.TempPathFactory, jet_models: AssignmentModels
) -> Path:
    """Return a Triton model repository with both of them."""
    folder = tmp_path_factory.mktemp("models")
    versions = model_versions(jet_models)
    write_model_repository(folder, MODEL_NAME, versions, n_features=len(FEATURES))
    return folder


@pytest.fixture(scope="session")
def triton_server(
    tmp_path_factory: pytest.TempPathFactory, repository_of_models: Path
) -> Iterator[Triton]:
    """Return a Triton server that serves both of them."""
    with triton(repository_of_models, tmp_path_factory.mktemp("triton")) as server:
        yield server


@pytest.fixture(scope="session")
def standin_features() -> Features:
    """Return the features of every permutation of the shipped sample's events."""
    events, _ = chunk = chunk_of(standin_arrays())
    signal, rows = all_features(chunk)
    return Features(events.event[signal.event], signal.n_jets, signal.offsets, rows)
