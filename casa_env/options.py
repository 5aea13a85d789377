"""Every setting, declared once: type, default, names in the environment, meaning."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from casa_env import values
from casa_env.config_file import nearest
from casa_env.data_options import DataOptions
from casa_env.declaring import says as _says
from casa_env.errors import SettingsError
from casa_env.sites import SITES

__all__ = ["BACKENDS", "Options", "declarations", "declared"]

#: The names of the Dask back ends.
BACKENDS: Final = (
    *("local", "join", "gateway"),
    *("slurm", "htcondor", "pbs", "lsf", "sge"),
)


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """What a place and its workers are, with the defaults; a part of `Options`."""

    profile: str = field(
        default="",
        metadata=_says(
            values.text, "Which [profile.NAME] of the configuration files to use"
        ),
    )
    site: str = field(
        default="local",
        metadata=_says(
            values.text,
            "The kind of site; detected where it is not set",
            choices=SITES,
        ),
    )
    site_name: str = field(
        default="",
        metadata=_says(values.text, "What the site calls itself, for reports"),
    )
    cpu_limit: float = field(
        default=0.0,
        metadata=_says(
            values.number, "Cores this session may use; 0 is no limit", "CPU_LIMIT"
        ),
    )
    memory_limit_bytes: int = field(
        default=0,
        metadata=_says(
            values.size_bytes, "Memory it may use; 0 is no limit", "MEM_LIMIT"
        ),
    )
    timeout_s: float = field(
        default=10.0,
        metadata=_says(
            values.number, "How long to wait for a service to answer, in seconds"
        ),
    )

    dask_backend: str = field(
        default="local",
        metadata=_says(
            values.text,
            "Where workers come from; join, if there is an address",
            choices=BACKENDS,
        ),
    )
    dask_address: str = field(
        default="",
        metadata=_says(
            values.text,
            "The scheduler to join, tls://host:port",
            "DASK_SCHEDULER_ADDRESS",
        ),
    )
    dask_tls_ca_file: Path | None = field(
        default=None,
        metadata=_says(
            values.path,
            "Certificate authority of that scheduler, PEM",
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
        ),
    )
    dask_tls_cert: Path | None = field(
        default=None,
        metadata=_says(
            values.path,
            "Our certificate for it, PEM",
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT",
        ),
    )
    dask_tls_key: Path | None = field(
        default=None,
        metadata=_says(
            values.path,
            "The key of our certificate, PEM",
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY",
        ),
    )
    dask_workers: int = field(
        default=0,
        metadata=_says(values.integer, "Workers to start; 0 is as many as fit"),
    )
    dask_worker_threads: int = field(
        default=0,
        metadata=_says(
            values.integer, "Threads of each worker; 0 is chosen from the cores"
        ),
    )
    dask_worker_memory_bytes: int = field(
        default=0,
        metadata=_says(values.size_bytes, "Memory of each worker; 0 is an even share"),
    )
    dask_processes: bool = field(
        default=True,
        metadata=_says(
            values.boolean, "Workers are processes; false is threads in the notebook"
        ),
    )
    dask_dashboard: str = field(
        default="127.0.0.1:0",
        metadata=_says(
            values.text,
            'Where the dashboard listens; port 0 is any free one; "" is no dashboard',
        ),
    )
    dask_gateway_address: str = field(
        default="",
        metadata=_says(values.text, "Dask Gateway's address", "DASK_GATEWAY__ADDRESS"),
    )
    dask_gateway_proxy_address: str = field(
        default="",
        metadata=_says(
            values.text,
            "Dask Gateway's address for schedulers",
            "DASK_GATEWAY__PROXY_ADDRESS",
        ),
    )
    dask_queue: str = field(
        default="",
        metadata=_says(
            values.text, "The batch system's queue or partition for workers"
        ),
    )
    dask_account: str = field(
        default="",
        metadata=_says(
            values.text, "The batch system's account or project for workers"
        ),
    )
    dask_walltime_s: float = field(
        default=3600.0,
        metadata=_says(
            values.number, "How long a worker's batch job may run, in seconds"
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Options(DataOptions, PlaceOptions):
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
