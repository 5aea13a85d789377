"""What an image promises a facility, checked from the inside: ours, or any other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from casa_env import (
    dask_contract,
    file_contract,
    image_contract,
    server_contract,
)
from casa_env.checks import Check, Status
from casa_env.errors import CasaEnvError
from casa_env.settings import Settings, load_settings
from casa_env.single_user import SingleUser, single_user_server

__all__ = ["CHECKS", "run_contract"]

#: What is checked, in this order; the first four of a server that is started once.
CHECKS: Final = (
    *("entrypoint", "ports", "hub", "dashboards"),
    *("uid", "pins", "certificates", "token", "dask-keys"),
)

SERVER: Final = CHECKS[:4]

#: How long a server may take to answer: an image's first start reads cold files.
STARTUP_S: Final = 60.0

#: What a hub starts.
COMMAND: Final = ("jupyterhub-singleuser",)


def run_contract(
    *,
    only: Collection[str] = (),
    entrypoint: Sequence[str] = (),
    hub_version: str = "",
    peer: Path | None = None,
    timeout: float = STARTUP_S,
    settings: Settings | None = None,
    environ: Mapping[str, str] | None = None,
) -> list[Check]:
    """Check what a facility relies on in an image, as a black box from its inside.

    On a laptop and on Binder it tells what a hub would find. At a facility an
    administrator runs it in the notebook's image and in the workers'.

    Parameters
    ----------
    only
        Names of `CHECKS` to run; by default all.
    entrypoint
        The image's entrypoint, as `docker inspect` shows it.
    hub_version
        The hub's version of JupyterHub, such as ``"6.1.1"``.
    peer
        What ``casa-env info --json`` printed in the other image.
    timeout
        How long the server may take to start, in seconds.
    settings
        Settings to check; by default those of this place.
    environ
        Environment variables; by default those of this process.

    Returns
    -------
    list of Check
        One for each of them, in the order of `CHECKS`.

    Raises
    ------
    CasaEnvError
        If a name in `only` is not one of `CHECKS`.
    SettingsError
        If the settings are wrong.
    """
    if unknown := sorted(set(only) - set(CHECKS)):
        what = f"There is no check {unknown[0]!r}."
        step = f"Choose from {', '.join(CHECKS)}."
        raise CasaEnvError(what, looked_at="--only", next_step=step)
    environ = os.environ if environ is None else environ
    settings = settings or load_settings(environ)
    wanted = [name for name in CHECKS if not only or name in only]
    checks = []
    if names := [name for name in wanted if name in SERVER]:
        checks += _server_checks(
            names,
            entrypoint=entrypoint,
            hub_version=hub_version,
            timeout=timeout,
            settings=settings,
            environ=environ,
        )
    others: dict[str, Callable[[], Check]] = {
        "uid": lambda: image_contract.uid(environ),
        "pins": lambda: image_contract.pins(peer),
        "certificates": lambda: file_contract.certificates(settings),
        "token": lambda: file_contract.token(settings, now=time.time()),
        "dask-keys": lambda: dask_contract.dask_keys(environ),
    }
    return checks + [others[name]() for name in wanted if name in others]


def _server_checks(
    names: Collection[str],
    *,
    entrypoint: Sequence[str],
    hub_version: str,
    timeout: float,
    settings: Settings,
    environ: Mapping[str, str],
) -> list[Check]:
    """Start a server as a hub does, and check it."""
    command = [*entrypoint, *COMMAND, *(["--allow-root"] if os.geteuid() == 0 else [])]
    if not entrypoint and find_spec("jupyter_server") is None:
        evidence = "Jupyter is not installed: an image for workers has none"
        return [Check(name=n, status=Status.OFF, evidence=evidence) for n in names]
    try:
        with single_user_server(
            command, hub_version=hub_version, environ=environ
        ) as server:
            return _checks_of(
                server,
                names,
                entrypoint=entrypoint,
                hub_version=hub_version,
                timeout=timeout,
                patience=settings.timeout_s,
                environ=environ,
            )
    except OSError as err:
        failed = f"`{' '.join(command)}` cannot be started: {err.strerror or err}"
        return [Check(name=n, status=Status.FAILED, evidence=failed) for n in names]


def _checks_of(
    server: SingleUser,
    names: Collection[str],
    *,
    entrypoint: Sequence[str],
    hub_version: str,
    timeout: float,
    patience: float,
    environ: Mapping[str, str],
) -> list[Check]:
    """Check a server that has been started; where it does not answer, only say so."""
    began = time.monotonic()
    problem = server.waited(timeout=timeout)
    started = server_contract.entrypoint(
        problem, words=entrypoint, took=time.monotonic() - began
    )
    checks = [started]
    if "ports" in names:
        checks.append(server_contract.ports(server, timeout=patience))
    if problem:  # then that is what there is to say
        return [started, *(check for check in checks[1:] if check.name in names)]
    if "hub" in names:
        found = server_contract.hub(server, version=hub_version, timeout=patience)
        checks.append(found)
    if "dashboards" in names:
        found = server_contract.dashboards(server, environ=environ, timeout=patience)
        checks.append(found)
    return [check for check in checks if check.name in names]
