"""A Triton model repository: a model's versions, and how Triton is to serve them."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from agc.served.failures import InferenceError
from casa_env import s3_options
from casa_env.errors import SettingsError
from casa_env.settings import Settings, load_settings
from casa_env.settings.table import shown

__all__ = ["ModelVersion", "publish_models", "write_model_repository"]

#: ``python``: XGBoost in Triton's Python, on any server. ``fil``: Triton's Forest
#: Inference Library, on servers with GPUs.
BackEnd: TypeAlias = Literal["python", "fil"]

#: Rows of one request that Triton takes; `agc.served.predictor` splits long before.
MAX_ROWS: Final = 2**24


@dataclass(frozen=True, kw_only=True)
class ModelVersion:
    """One version of a model: an XGBoost classifier."""

    number: int
    """Its number on the server, from 1."""

    label: str
    """What it is, for people and for who asks the server."""

    content: bytes = field(repr=False)
    """The model as XGBoost saves it, UBJSON."""

    @property
    def digest(self) -> str:
        """The SHA-256 of the model: the server tells it, so that it can be compared."""
        return hashlib.sha256(self.content).hexdigest()


def write_model_repository(
    folder: Path,
    name: str,
    versions: Sequence[ModelVersion],
    *,
    n_features: int,
    back_end: BackEnd = "python",
    threads: int = 1,
    instances: int = 1,
) -> Path:
    """Write a model with all its versions into a model repository; return its folder.

    The repository is made where it is missing, and other models in it stay. The model's
    folder appears there complete, or not at all.

    Parameters
    ----------
    back_end
        ``"python"`` gives margins, the bits of XGBoost in process. ``"fil"`` applies
        the logistic function of a ``binary:logistic`` model (``predict_proba`` false)
        and adds trees in another order: its scores are not the same bits.
    threads
        Cores that one instance computes on; ``python`` only.
    instances
        Processes, or instances on each GPU, that serve the model at a time.

    Raises
    ------
    InferenceError
        Two versions have one number.
    OSError
        The folder cannot be written.
    """
    numbers = [version.number for version in versions]
    if len(set(numbers)) != len(numbers) or not all(n > 0 for n in numbers):
        what = f"The versions of {name} are not numbered one by one: {numbers}."
        raise InferenceError(what, next_step="Give each a number of its own, from 1.")
    parameters = {
        "scores": "margin" if back_end == "python" else "probability",
        "threads": str(threads),
    }
    for version in versions:
        parameters[f"label_{version.number}"] = version.label
        parameters[f"sha256_{version.number}"] = version.digest
    folder.mkdir(parents=True, exist_ok=True)
    model = folder / name
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as name_of_partial:
        partial = Path(name_of_partial) / name
        for version in versions:
            target = partial / str(version.number)
            target.mkdir(parents=True)
            if back_end == "python":
                (target / "model.ubj").write_bytes(version.content)
                served = Path(__file__).with_name("xgboost_model.py")
                shutil.copyfile(served, target / "model.py")
            else:
                (target / "xgboost.json").write_bytes(_as_json(version.content))
        config = _config(name, n_features, back_end, instances, parameters)
        (partial / "config.pbtxt").write_text(config)
        if model.exists():
            model.rename(Path(name_of_partial) / "old")
        partial.rename(model)
    return model


def _config(
    name: str,
    n_features: int,
    back_end: BackEnd,
    instances: int,
    parameters: dict[str, str],
) -> str:
    """Return Triton's ``config.pbtxt``, in Protocol buffers' text format."""
    given, output, kind = "features", "scores", "KIND_CPU"
    if back_end == "fil":
        given, output, kind = "input__0", "output__0", "KIND_AUTO"
        parameters |= {
            "model_type": "xgboost_json",
            "output_class": "false",
            "predict_proba": "false",
        }
    lines = [
        f"name: {json.dumps(name)}",
        f'backend: "{back_end}"',
        f"max_batch_size: {MAX_ROWS}",
        f'input [ {{ name: "{given}" data_type: TYPE_FP32 dims: [ {n_features} ] }} ]',
        f'output [ {{ name: "{output}" data_type: TYPE_FP32 dims: [ 1 ] }} ]',
        # Without it Triton serves the highest version only.
        "version_policy { all { } }",
        f"instance_group [ {{ count: {instances} kind: {kind} }} ]",
        # What waits is scored together; nothing waits for more to come.
        "dynamic_batching { max_queue_delay_microseconds: 0 }",
        *(
            f"parameters {{ key: {json.dumps(key)} "
            f"value {{ string_value: {json.dumps(value)} }} }}"
            for key, value in parameters.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def _as_json(content: bytes) -> bytes:
    """Return a model in the format that FIL reads."""
    import xgboost

    booster = xgboost.Booster(model_file=bytearray(content))
    return bytes(booster.save_raw("json"))


def publish_models(
    folder: Path, target: str | None = None, *, settings: Settings | None = None
) -> str:
    """Copy a model repository to where the site's Triton server reads it; return where.

    On a laptop and on Binder there is no such place. At a facility it is the bucket
    that ``triton_repository`` names. A target is ``s3://bucket/prefix`` or a folder.

    Raises
    ------
    SettingsError
        No target is named.
    InferenceError
        It cannot be written.

    Notes
    -----
    The object store is the one of `casa_env.s3_options`, with its credentials. A
    model's ``config.pbtxt`` is written last: a server that polls finds no version
    without its files.
    """
    import fsspec

    settings = settings or load_settings()
    target = target or settings.triton_repository
    if not target:
        what = "This place names no model repository to publish to."
        step = "Set triton_repository (CASA_ENV_TRITON_REPOSITORY) to s3://bucket."
        raise SettingsError(what, looked_at="triton_repository", next_step=step)
    files = sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: (path.name == "config.pbtxt", path),
    )
    options: dict[str, Any] = {}
    failures: tuple[type[Exception], ...] = (OSError, ValueError, ImportError)
    if target.startswith("s3://"):
        from botocore.exceptions import BotoCoreError

        options, failures = s3_options(settings), (*failures, BotoCoreError)
    try:
        system, root = fsspec.core.url_to_fs(target, **options)
        for path in files:
            place = f"{root.rstrip('/')}/{path.relative_to(folder).as_posix()}"
            if "://" not in target:
                system.makedirs(place.rpartition("/")[0], exist_ok=True)
            system.pipe_file(place, path.read_bytes())
    except failures as err:
        what = f"The models cannot be published: {err}."
        step = "Look at triton_repository, s3_endpoint and the store's credentials."
        raise InferenceError(what, looked_at=shown(target), next_step=step) from err
    return target
