"""Every setting, declared once: type, default, names in the environment, meaning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from casa_env import values
from casa_env.config_file import nearest
from casa_env.errors import SettingsError
from casa_env.sites import SITES

__all__ = ["BACKENDS", "Options", "declarations", "declared"]

#: The names of the Dask back ends.
BACKENDS: Final = (
    *("local", "join", "gateway"),
    *("slurm", "htcondor", "pbs", "lsf", "sge"),
)


def _says(
    parse: Callable[[object], Any],
    doc: str,
    *variables: str,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> dict[str, Any]:
    """Declare a setting: its parser, a line of text, the ecosystem's variables."""
    return {
        "parse": parse,
        "doc": doc,
        "variables": variables,
        "choices": choices,
        "secret": secret,
    }


@dataclass(frozen=True, kw_only=True)
class Options:
    """The settings there are, with their defaults; `Settings` is what holds here."""

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
    hub_token_s: float = field(
        default=0.0,
        metadata=_says(
            values.number,
            "How often JupyterLab fetches that file from the hub, in seconds; 0 is "
            "never",
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
