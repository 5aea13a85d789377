"""Casa: an analysis facility that fits in a notebook.

`casa_env` finds what a site offers and hands over the ecosystem's own objects.
"""

from __future__ import annotations

from importlib import import_module

#: For type checkers; the name from `typing` would cost most of the import's time.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from casa_env.data.xcache import s3_options, xcache_fileset, xcache_url
    from casa_env.doctor import run_checks
    from casa_env.errors import CasaEnvError, EnvironmentMismatchError
    from casa_env.models.mlflow import mlflow_run
    from casa_env.models.triton import triton_client
    from casa_env.running import run_notebook
    from casa_env.settings import Settings, load_settings
    from casa_env.tokens.access import check_access
    from casa_env.tokens.bearer import bearer_token
    from casa_env.workers.clusters import dask_client, dask_cluster
    from casa_env.workers.delivery import read_report
    from casa_env.workers.sameness import compare_environments, environment_info
    from casa_env.workers.ship import ship
    from casa_env.workers.waiting import wait_for_workers

# fmt: off
__all__ = [
    "CasaEnvError", "EnvironmentMismatchError", "Settings", "bearer_token",
    "check_access", "compare_environments", "dask_client", "dask_cluster",
    "environment_info", "load_settings", "mlflow_run", "read_report", "run_checks",
    "run_notebook", "s3_options", "ship", "triton_client", "wait_for_workers",
    "xcache_fileset", "xcache_url",
]
# fmt: on

_MODULES = {
    "data.xcache": ("s3_options", "xcache_fileset", "xcache_url"),
    "doctor": ("run_checks",),
    "errors": ("CasaEnvError", "EnvironmentMismatchError"),
    "models.mlflow": ("mlflow_run",),
    "models.triton": ("triton_client",),
    "running": ("run_notebook",),
    "settings": ("Settings", "load_settings"),
    "tokens.access": ("check_access",),
    "tokens.bearer": ("bearer_token",),
    "workers.clusters": ("dask_client", "dask_cluster"),
    "workers.delivery": ("read_report",),
    "workers.sameness": ("compare_environments", "environment_info"),
    "workers.ship": ("ship",),
    "workers.waiting": ("wait_for_workers",),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            value = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """Return the public names."""
    return __all__
