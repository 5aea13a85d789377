"""Casa: an analysis facility that fits in a notebook.

`casa_env` finds what a site offers and hands over the ecosystem's own objects.
"""

from __future__ import annotations

from importlib import import_module

#: For type checkers; the name from `typing` would cost most of the import's time.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from casa_env.access import check_access
    from casa_env.clusters import dask_client, dask_cluster
    from casa_env.comparison import compare_environments
    from casa_env.credentials import BearerToken, bearer_token
    from casa_env.delivery import read_report
    from casa_env.doctor import Check, Status, run_checks
    from casa_env.errors import CasaEnvError, EnvironmentMismatchError
    from casa_env.identity import Environment, environment_id, environment_info
    from casa_env.models.mlflow import mlflow_run
    from casa_env.models.triton import triton_client
    from casa_env.object_stores import s3_options
    from casa_env.reading import ReadReport
    from casa_env.running import Run, run_notebook
    from casa_env.settings import Settings, Source, load_settings
    from casa_env.shipping import ship, ship_packages
    from casa_env.waiting import wait_for_workers
    from casa_env.xcache import xcache_fileset, xcache_url

__all__ = [
    "BearerToken",
    "CasaEnvError",
    "Check",
    "Environment",
    "EnvironmentMismatchError",
    "ReadReport",
    "Run",
    "Settings",
    "Source",
    "Status",
    "bearer_token",
    "check_access",
    "compare_environments",
    "dask_client",
    "dask_cluster",
    "environment_id",
    "environment_info",
    "load_settings",
    "mlflow_run",
    "read_report",
    "run_checks",
    "run_notebook",
    "s3_options",
    "ship",
    "ship_packages",
    "triton_client",
    "wait_for_workers",
    "xcache_fileset",
    "xcache_url",
]

_MODULES = {
    "BearerToken": "credentials",
    "CasaEnvError": "errors",
    "Check": "doctor",
    "Environment": "identity",
    "EnvironmentMismatchError": "errors",
    "ReadReport": "reading",
    "Run": "running",
    "Settings": "settings",
    "Source": "settings",
    "Status": "doctor",
    "bearer_token": "credentials",
    "check_access": "access",
    "compare_environments": "comparison",
    "dask_client": "clusters",
    "dask_cluster": "clusters",
    "environment_id": "identity",
    "environment_info": "identity",
    "load_settings": "settings",
    "mlflow_run": "models.mlflow",
    "read_report": "delivery",
    "run_checks": "doctor",
    "run_notebook": "running",
    "s3_options": "object_stores",
    "ship": "shipping",
    "ship_packages": "shipping",
    "triton_client": "models.triton",
    "wait_for_workers": "waiting",
    "xcache_fileset": "xcache",
    "xcache_url": "xcache",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _MODULES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
