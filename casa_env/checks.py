"""What a check of a service says, and the checks that several services share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from casa_env.network import host_and_port, tcp_problem
from casa_env.settings import Settings

__all__ = ["Check", "Status", "off", "readable_file", "server_check"]


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    OFF = "off"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was found out about one service."""

    name: str
    """The service."""

    status: Status
    """``ok``; ``off``: not configured; ``warning``: look at it; ``failed``."""

    evidence: str
    """What was looked at and what was found."""

    next_step: str = ""
    """What to do, unless all is well."""


def off(name: str, setting: str) -> Check:
    """Return the check of a service that is not configured."""
    return Check(
        name=name,
        status=Status.OFF,
        evidence=f"{setting} is not set",
        next_step=f"Set CASA_ENV_{setting.upper()}, or {setting} in a "
        "configuration file.",
    )


def readable_file(name: str, setting: str, settings: Settings) -> Check:
    """Check that a file that a setting names is there and holds something."""
    path: Path | None = getattr(settings, setting)
    if path is None:
        return off(name, setting)
    where = f"{path}, from {settings.origin(setting)}"
    try:
        content = path.read_bytes()
        problem = "" if content.strip() else "it is empty"
    except OSError as err:
        problem = (err.strerror or str(err)).lower()
    if problem:
        return Check(
            name=name,
            status=Status.FAILED,
            evidence=f"{where}: {problem}",
            next_step=f"Get a new one, or correct {setting}.",
        )
    evidence = f"{where}: there; its content is not checked"
    return Check(name=name, status=Status.OK, evidence=evidence)


def server_check(name: str, setting: str) -> Callable[[Settings], Check]:
    """Return a check that something accepts connections where a setting points."""

    def check(settings: Settings) -> Check:
        url = getattr(settings, setting)
        if not url:
            return off(name, setting)
        where = f"{settings.shown(setting)}, from {settings.origin(setting)}"
        target = host_and_port(url)
        if target is None and name == "mlflow":
            evidence = f"{where}: a file or database, without a server"
            return Check(name=name, status=Status.OK, evidence=evidence)
        if target is None:
            problem = "this is not the URL of a server"
        else:
            problem = tcp_problem(*target, timeout=settings.timeout_s)
        if problem:
            return Check(
                name=name,
                status=Status.FAILED,
                evidence=f"{where}: {problem}",
                next_step=f"Correct {setting}, or ask whether the server is up.",
            )
        evidence = f"{where}: accepts connections; no more than that was tried"
        return Check(name=name, status=Status.OK, evidence=evidence)

    return check
