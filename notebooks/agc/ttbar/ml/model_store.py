"""Where the jet assignment's two models are: in this repository, or in MLflow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agc.errors import AnalysisError
from agc.served.repository import ModelVersion
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.jet_assignment import AssignmentModels
from agc.ttbar.ml.training import Training

__all__ = [
    "ALIASES",
    "MODEL_NAME",
    "SHIPPED_FOLDER",
    "jet_models",
    "model_versions",
    "register_models",
    "registered_models",
    "save_models",
    "shipped_models",
]

#: As the AGC calls it, in MLflow and on Triton.
MODEL_NAME = "reconstruction_bdt_xgb"

#: The registered model's aliases, by what a model was trained on. MLflow's stages are
#: deprecated, and there is no "production" here: both are needed, each for the events
#: that it has not seen.
ALIASES = ("trained_on_even", "trained_on_odd")

#: The models for the simulated stand-in, which `shipped_models` reads.
SHIPPED_FOLDER = Path(__file__).resolve().parents[3] / "models" / MODEL_NAME

_RECIPE = "recipe.json"


def model_versions(models: AssignmentModels) -> list[ModelVersion]:
    """Return the models as versions on a Triton server, each said which it is.

    Parameters
    ----------
    models
        The two.

    Returns
    -------
    list of ModelVersion
        Version 1 was trained on even events and scores odd ones, version 2 the other
        way round. The AGC's reference implementation (c37bf59) sends even events to the
        version that its own comment calls trained on even ones: that is not done here.
    """
    return [
        ModelVersion(
            number=1,
            label="trained on even events, scores odd events",
            content=models.trained_on_even,
        ),
        ModelVersion(
            number=2,
            label="trained on odd events, scores even events",
            content=models.trained_on_odd,
        ),
    ]


def save_models(
    training: Training, folder: Path, *, recipe: Mapping[str, Any] | None = None
) -> None:
    """Write models, how they came about, and their checksums.

    Parameters
    ----------
    training
        As from `agc.ttbar.ml.training.train`.
    folder
        Created where it is missing.
    recipe
        More to say about how they came about.

    Raises
    ------
    OSError
        The files cannot be written.
    """
    import xgboost

    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for alias in ALIASES:
        content: bytes = getattr(training.models, alias)
        (folder / f"{alias}.ubj").write_bytes(content)
        files[f"{alias}.ubj"] = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    described = {
        "model": MODEL_NAME,
        "features": [feature.name for feature in FEATURES],
        "xgboost": xgboost.__version__,
        "hyperparameters": asdict(training.hyperparameters),
        **(recipe or {}),
        "files": files,
    }
    (folder / _RECIPE).write_text(json.dumps(described, indent=1) + "\n")


def shipped_models(folder: Path = SHIPPED_FOLDER) -> AssignmentModels:
    """Return the models that come with the notebooks, trained on the stand-in.

    Parameters
    ----------
    folder
        Where `save_models` wrote them.

    Returns
    -------
    AssignmentModels
        Checked against their checksums.

    Raises
    ------
    AnalysisError
        A file is missing, or is not the one that was written.
    """
    try:
        recipe = json.loads((folder / _RECIPE).read_text())
        contents = {}
        for alias in ALIASES:
            content = (folder / f"{alias}.ubj").read_bytes()
            expected = recipe["files"][f"{alias}.ubj"]["sha256"]
            if hashlib.sha256(content).hexdigest() != expected:
                msg = (
                    f"{folder / alias}.ubj is not the model that {_RECIPE} describes: "
                    "get both back with git, or train again"
                )
                raise AnalysisError(msg)
            contents[alias] = content
    except (OSError, ValueError, KeyError) as error:
        msg = (
            f"the models in {folder} cannot be used ({type(error).__name__}: {error}): "
            "get them back with git, or train them: agc-ttbar-training.ipynb"
        )
        raise AnalysisError(msg) from error
    return AssignmentModels(**contents)


def register_models(training: Training) -> dict[str, str]:
    """Log both models to the active run and register them.

    Parameters
    ----------
    training
        As from `agc.ttbar.ml.training.train`.

    Returns
    -------
    dict of str to str
        By alias, the version of `MODEL_NAME` that it names from now on.

    Raises
    ------
    mlflow.MlflowException
        The store does not take them.

    Notes
    -----
    The model's requirements are this environment's exact versions: MLflow would find
    them out by loading the model once more in another process.
    """
    import mlflow
    import mlflow.xgboost
    import xgboost

    client = mlflow.MlflowClient()
    versions = {}
    for alias in ALIASES:
        content: bytes = getattr(training.models, alias)
        info = mlflow.xgboost.log_model(
            xgboost.Booster(model_file=bytearray(content)),
            name=alias,
            registered_model_name=MODEL_NAME,
            pip_requirements=_requirements(),
            metadata={"sha256": hashlib.sha256(content).hexdigest()},
        )
        versions[alias] = str(info.registered_model_version)
        client.set_registered_model_alias(MODEL_NAME, alias, versions[alias])
    return versions


def _requirements() -> list[str]:
    from importlib.metadata import version

    return [f"{name}=={version(name)}" for name in ("xgboost-cpu", "numpy", "mlflow")]


def registered_models() -> AssignmentModels:
    """Return the models that MLflow's aliases name.

    Returns
    -------
    AssignmentModels
        The bytes that were registered.

    Raises
    ------
    AnalysisError
        There is no such model, or it is not the one that was registered.

    Notes
    -----
    MLflow must point at the store: `casa_env.models.mlflow.connect` does that.
    """
    import mlflow
    import mlflow.xgboost

    contents = {}
    for alias in ALIASES:
        uri = f"models:/{MODEL_NAME}@{alias}"
        try:
            booster = mlflow.xgboost.load_model(uri)
            registered = mlflow.models.get_model_info(uri).metadata or {}
        except mlflow.MlflowException as error:
            msg = f"{uri} cannot be loaded ({error}): agc-ttbar-training.ipynb makes it"
            raise AnalysisError(msg) from error
        contents[alias] = bytes(booster.save_raw("ubj"))
        if hashlib.sha256(contents[alias]).hexdigest() != registered.get("sha256"):
            msg = f"{uri} has other bytes than the model that was registered"
            raise AnalysisError(msg)
    return AssignmentModels(**contents)


def jet_models(source: str) -> AssignmentModels:
    """Return the two models of the jet assignment.

    Parameters
    ----------
    source
        ``"shipped"``: those that come with the notebooks. ``"registered"``: those that
        the aliases in this place's MLflow name.

    Raises
    ------
    AnalysisError
        They are not there, or ``source`` is something else.
    TrackingError
        MLflow's store cannot be used.
    """
    if source == "shipped":
        return shipped_models()
    if source == "registered":
        from casa_env.models.mlflow import connect
        from casa_env.settings import load_settings

        connect(load_settings())
        return registered_models()
    msg = f'there are "shipped" and "registered" models, not {source!r}'
    raise AnalysisError(msg)
