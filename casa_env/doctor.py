"""Is this place well: one check for each service, with evidence and a next step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from casa_env import cluster_checks, data_checks, model_checks, place_checks
from casa_env.checks import Check, Status
from casa_env.settings import Settings, load_settings

__all__ = ["Check", "Status", "run_checks"]


def run_checks(settings: Settings | None = None) -> list[Check]:
    """Check this place and each of its services, in a bounded time.

    On a laptop and on Binder most services are off, which is no failure. At a
    facility what the settings name must answer within ``timeout_s``.

    Parameters
    ----------
    settings
        Settings to check; by default those of this place.

    Returns
    -------
    list of Check
        One for each of them, in a fixed order.

    Raises
    ------
    SettingsError
        If the settings themselves are wrong.
    """
    settings = settings or load_settings()
    place = [
        place_checks.environment(),
        place_checks.caches(),
        place_checks.disk(),
        place_checks.memory(settings),
    ]
    return place + [check(settings) for check in _SERVICES]


_SERVICES: Final[tuple[Callable[[Settings], Check], ...]] = (
    cluster_checks.dask,
    data_checks.xcache,
    data_checks.token,
    data_checks.x509,
    model_checks.mlflow,
    model_checks.triton,
    data_checks.s3,
    data_checks.servicex,
)
