"""Settings of the place itself: profile, kind, limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from casa_env import values
from casa_env.declaring import says
from casa_env.sites import SITES

__all__ = ["PlaceOptions"]


@dataclass(frozen=True, kw_only=True)
class PlaceOptions:
    """What holds for every service."""

    profile: str = field(
        default="",
        metadata=says(
            values.text, "Which [profile.NAME] of the configuration files to use"
        ),
    )
    site: str = field(
        default="local",
        metadata=says(
            values.text,
            "The kind of site; detected where it is not set",
            choices=SITES,
        ),
    )
    site_name: str = field(
        default="",
        metadata=says(values.text, "What the site calls itself, for reports"),
    )
    cpu_limit: float = field(
        default=0.0,
        metadata=says(
            values.number, "Cores this session may use; 0 is no limit", "CPU_LIMIT"
        ),
    )
    memory_limit_bytes: int = field(
        default=0,
        metadata=says(
            values.size_bytes, "Memory it may use; 0 is no limit", "MEM_LIMIT"
        ),
    )
    timeout_s: float = field(
        default=10.0,
        metadata=says(
            values.number, "How long to wait for a service to answer, in seconds"
        ),
    )
