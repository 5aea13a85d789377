"""Where the jet assignment's two models are: in this repository, or in MLflow."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agc.errors import AnalysisError
from agc.hists.io import whole
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

    files = {}
    for alias in ALIASES:
        content: bytes = getattr(training.models, alias)
        with whole(folder / f"{alias}.ubj") as partial:
            partial.write_bytes(content)
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
    with whole(folder / _RECIPE) as partial:
        partial.write_text(json.dumps(described, indent=1) + "\n")


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
    places = {alias: str(folder / f"{alias}.ubj") for alias in ALIASES}
    return _checked(
        folder / _RECIPE,
        places,
        lambda place: Path(place).read_bytes(),
        "get them back with git, or train them: agc-ttbar-training.ipynb",
    )


def _checked(
    recipe: Path, places: Mapping[str, str], read: Callable[[str], bytes], step: str
) -> AssignmentModels:
    """Return models whose bytes are those of a recipe; nobody has parsed them yet."""
    contents = {}
    try:
        files = json.loads(recipe.read_text())["files"]
        for alias, place in places.items():
            expected = files[f"{alias}.ubj"]["sha256"]
            contents[alias] = read(place)
            found = hashlib.sha256(contents[alias]).hexdigest()
            if found != expected:
                msg = (
                    f"{place} is not the model that {recipe} describes, and was not "
                    f"loaded: its SHA-256 is {found}, not {expected}: {step}"
                )
                raise AnalysisError(msg)
    except (OSError, ValueError, KeyError, TypeError) as error:
        where = f"the models of {recipe} cannot be used"
        msg = f"{where} ({type(error).__name__}: {error}): {step}"
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


def registered_models(recipe: Path) -> AssignmentModels:
    """Return the models that MLflow's aliases name, if they are those of a recipe.

    Parameters
    ----------
    recipe
        As `save_models` wrote it, kept apart from the store: whoever can replace a
        model there can replace its checksum there, too.

    Returns
    -------
    AssignmentModels
        The bytes that were registered.

    Raises
    ------
    AnalysisError
        There is no such model, or it is not the recipe's.

    Notes
    -----
    MLflow must point at the store: `casa_env.models.mlflow.connect` does that. Only
    XGBoost's own file is fetched: loading a model with MLflow imports and unpickles
    what comes with it, before anybody can look at the bytes.
    """
    import mlflow

    def fetched(uri: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            try:
                file = mlflow.artifacts.download_artifacts(uri, dst_path=folder)
            except mlflow.MlflowException as error:
                raise OSError(str(error)) from error
            return Path(file).read_bytes()

    return _checked(
        recipe,
        {alias: f"models:/{MODEL_NAME}@{alias}/model.ubj" for alias in ALIASES},
        fetched,
        "train and register them with agc-ttbar-training.ipynb, and keep its recipe",
    )


def jet_models(source: str) -> AssignmentModels:
    """Return the two models of the jet assignment.

    Parameters
    ----------
    source
        ``"shipped"``: those that come with the notebooks. The path of a ``recipe.json``
        that `save_models` wrote: those, from this place's MLflow.

    Raises
    ------
    AnalysisError
        They are not there, or not those of the recipe.
    TrackingError
        MLflow's store cannot be used.
    """
    if source == "shipped":
        return shipped_models()
    if not source.endswith(".json"):
        msg = f'models are "shipped", or those of a {_RECIPE}, not {source!r}'
        raise AnalysisError(msg)
    from casa_env.models.mlflow import connect
    from casa_env.settings import load_settings

    connect(load_settings())
    return registered_models(Path(source))
