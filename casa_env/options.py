"""Every setting, declared once: type, default, names in the environment, meaning."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from casa_env import values
from casa_env.cluster_options import BACKENDS, ClusterOptions
from casa_env.config_file import nearest
from casa_env.data_options import DataOptions
from casa_env.declaring import says as _says
from casa_env.errors import SettingsError
from casa_env.place_options import PlaceOptions

__all__ = ["BACKENDS", "Options", "declarations", "declared"]


# A dataclass puts the fields of its last base first.
@dataclass(frozen=True, kw_only=True)
class Options(DataOptions, ClusterOptions, PlaceOptions):
    """The settings there are, with their defaults; `Settings` is what holds here."""

    mlflow_uri: str = field(
        default="",
        metadata=_says(values.text, "The MLflow tracking URI", "MLFLOW_TRACKING_URI"),
    )
    triton_url: str = field(
        default="",
        metadata=_says(
            values.text, "The Triton server: grpc://, grpcs://, http:// or https://"
        ),
    )
    triton_ca_file: Path | None = field(
        default=None,
        metadata=_says(values.path, "Certificate authority of the Triton server, PEM"),
    )
    triton_timeout_s: float = field(
        default=60.0,
        metadata=_says(
            values.number, "How long one call of a model may take in all, in seconds"
        ),
    )
    triton_fallback: bool = field(
        default=True,
        metadata=_says(
            values.boolean, "Score in process where the Triton server is lost"
        ),
    )
    triton_repository: str = field(
        default="",
        metadata=_says(
            values.text,
            "Where models are published for the Triton server: a folder or s3://bucket",
        ),
    )


def declarations() -> dict[str, Field[Any]]:
    """Return every setting's declaration by name, in the order of this file."""
    return {f.name: f for f in fields(Options)}


def declared(name: str, where: str = "") -> Field[Any]:
    """Return the declaration of a setting.

    Parameters
    ----------
    name
        The name of a setting.
    where
        Where the name was written, for the error.

    Raises
    ------
    SettingsError
        If there is no such setting; the error names the nearest.
    """
    known = declarations()
    if name in known:
        return known[name]
    what = f"There is no setting {name!r}; the nearest is {nearest(name, known)!r}."
    step = "`casa-env show` lists the settings."
    raise SettingsError(what, looked_at=where, next_step=step)
