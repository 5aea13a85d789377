"""Every setting, declared once: type, default, names in the environment, meaning."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from casa_env import values
from casa_env.cluster_options import BACKENDS, ClusterOptions
from casa_env.config_file import nearest
from casa_env.errors import SettingsError
from casa_env.place_options import PlaceOptions
from casa_env.place_options import says as _says

__all__ = ["BACKENDS", "Options", "declarations", "declared"]


# A dataclass puts the fields of its last base first.
@dataclass(frozen=True, kw_only=True)
class Options(ClusterOptions, PlaceOptions):
    """The settings there are, with their defaults; `Settings` is what holds here."""

    xcache_url: str = field(
        default="",
        metadata=_says(
            values.text, "The XRootD cache to read through, root://host:port"
        ),
    )
    xcache_mode: str = field(
        default="forwarding",
        metadata=_says(
            values.text,
            "forwarding appends the origin's URL; fixed replaces its host",
            choices=("forwarding", "fixed"),
        ),
    )
    bearer_token: str = field(
        default="",
        metadata=_says(values.text, "A WLCG bearer token", "BEARER_TOKEN", secret=True),
    )
    bearer_token_file: Path | None = field(
        default=None,
        metadata=_says(
            values.path, "The file that holds the bearer token", "BEARER_TOKEN_FILE"
        ),
    )
    token_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_says(values.texts, "The only hosts that a token may be sent to"),
    )
    x509_proxy: Path | None = field(
        default=None, metadata=_says(values.path, "The X.509 proxy", "X509_USER_PROXY")
    )
    x509_ca_dir: Path | None = field(
        default=None,
        metadata=_says(
            values.path, "The grid's certificate authorities", "X509_CERT_DIR"
        ),
    )
    s3_endpoint: str = field(
        default="",
        metadata=_says(
            values.text,
            "The object store behind s3:// URLs, https://host",
            "AWS_ENDPOINT_URL_S3",
            "AWS_ENDPOINT_URL",
        ),
    )
    servicex_endpoint: str = field(
        default="", metadata=_says(values.text, "The ServiceX server, https://host")
    )

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
