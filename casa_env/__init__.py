"""Casa: an analysis facility that fits in a notebook.

`casa_env` finds what a site offers and hands over the ecosystem's own objects.
"""

from __future__ import annotations

from importlib import import_module

#: For type checkers; the name from `typing` would cost most of the import's time.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from casa_env.clusters import dask_client, dask_cluster
    from casa_env.comparison import compare_environments
    from casa_env.doctor import Check, Status, run_checks
    from casa_env.errors import CasaEnvError, EnvironmentMismatchError
    from casa_env.execution import Run, run_notebook
    from casa_env.identity import Environment, environment_id, environment_info
    from casa_env.settings import Settings, Source, load_settings
    from casa_env.shipping import ship, ship_packages
    from casa_env.waiting import wait_for_workers

__all__ = [
    "CasaEnvError",
    "Check",
    "Environment",
    "EnvironmentMismatchError",
    "Run",
    "Settings",
    "Source",
    "Status",
    "compare_environments",
    "dask_client",
    "dask_cluster",
    "environment_id",
    "environment_info",
    "load_settings",
    "run_checks",
    "run_notebook",
    "ship",
    "ship_packages",
    "wait_for_workers",
]

_MODULES = {
    "CasaEnvError": "errors",
    "Check": "doctor",
    "Environment": "identity",
    "EnvironmentMismatchError": "errors",
    "Run": "execution",
    "Settings": "settings",
    "Source": "settings",
    "Status": "doctor",
    "compare_environments": "comparison",
    "dask_client": "clusters",
    "dask_cluster": "clusters",
    "environment_id": "identity",
    "environment_info": "identity",
    "load_settings": "settings",
    "run_checks": "doctor",
    "run_notebook": "execution",
    "ship": "shipping",
    "ship_packages": "shipping",
    "wait_for_workers": "waiting",
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
