"""Is this place well: one check for each service, with evidence and a next step."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from casa_env.errors import CasaEnvError
from casa_env.network import host_and_port, tcp_problem
from casa_env.settings import Settings, load_settings

__all__ = ["Check", "Status", "run_checks"]

#: Below this much, the analysis and its caches get into trouble.
LITTLE_DISK_BYTES: Final = 2_000_000_000
LITTLE_MEMORY_BYTES: Final = 1_000_000_000


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
    checks = [_environment(), _caches(), _disk(), _memory(settings), _dask(settings)]
    return checks + [check(settings) for check in _SERVICES]


def _environment() -> Check:
    """Tell which Python this is and what is installed in it."""
    from casa_env.identity import environment_here

    here = environment_here()
    evidence = (
        f"Python {here.python} on {here.platform}, {len(here.packages)} packages, "
        f"id {here.id}"
    )
    return Check(name="environment", status=Status.OK, evidence=evidence)


def _caches() -> Check:
    """Find out whether programs can write their caches."""
    from casa_env.paths import writable_environment

    extra, reason = writable_environment(os.environ)
    if not extra:
        evidence = "the home directory can be written"
        return Check(name="caches", status=Status.OK, evidence=evidence)
    return Check(
        name="caches",
        status=Status.WARNING,
        evidence=reason,
        next_step="`casa-env run` and `make` see to that; elsewhere set "
        f"{', '.join(list(extra)[:2])} and so on, or HOME.",
    )


def _disk() -> Check:
    """Look how much room there is in the working directory and for temporary files."""
    import tempfile

    folders = [Path.cwd(), Path(tempfile.gettempdir())]
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    least = min(free, key=lambda folder: free[folder])
    little = free[least] < LITTLE_DISK_BYTES
    return Check(
        name="disk",
        status=Status.WARNING if little else Status.OK,
        evidence=f"{free[least] / 1e9:.1f} GB free below {least}",
        next_step="Make room, or set TMPDIR to a larger disk." if little else "",
    )


def _memory(settings: Settings) -> Check:
    """Look how much memory this session may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if find_spec("distributed"):  # it knows the limits of containers, too
        from distributed.system import MEMORY_LIMIT

        total = min(total, MEMORY_LIMIT)
    limit = settings.memory_limit_bytes
    usable = min(total, limit) if limit else total
    source = f"limit from {settings.origin('memory_limit_bytes')}" if limit else "all"
    little = usable < LITTLE_MEMORY_BYTES
    return Check(
        name="memory",
        status=Status.WARNING if little else Status.OK,
        evidence=f"{usable / 1e9:.1f} GB ({source}) of {total / 1e9:.1f} GB",
        next_step="Ask for more when you start the session." if little else "",
    )


def _dask(settings: Settings) -> Check:
    """Let a cluster compute something: one of our own, or the site's."""
    from casa_env.clusters import dask_client

    began = time.monotonic()
    local = settings.dask_backend == "local"
    try:
        one = replace(settings, dask_workers=1, dask_dashboard="")
        with dask_client(settings=one) as client:
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
            if workers:
                client.submit(sum, [1, 2], pure=False).result(settings.timeout_s)
    except (CasaEnvError, OSError) as err:
        what = err.what if isinstance(err, CasaEnvError) else str(err) or repr(err)
        where = err.looked_at if isinstance(err, CasaEnvError) else ""
        step = err.next_step if isinstance(err, CasaEnvError) else ""
        evidence = f"{settings.dask_backend}: {what} {where}".strip()
        return Check(
            name="dask", status=Status.FAILED, evidence=evidence, next_step=step
        )
    took = f"{time.monotonic() - began:.1f} s"
    if local:
        from casa_env.local_backend import size_here

        size = size_here(settings)
        kind = "process" if settings.dask_processes else "thread pool"
        evidence = (
            f"local: a worker {kind} started, computed and stopped in {took}; "
            f"dask_client() starts {size.workers} with {size.threads} thread(s) and "
            f"{size.memory_bytes / 1e9:.1f} GB each"
        )
        return Check(name="dask", status=Status.OK, evidence=evidence)
    where = f"{settings.shown('dask_address')} has {workers} worker(s)"
    if not workers:
        step = "Start workers, or wait for them: nothing is computed until then."
        return Check(name="dask", status=Status.WARNING, evidence=where, next_step=step)
    evidence = f"join: {where}; one computed in {took}"
    return Check(name="dask", status=Status.OK, evidence=evidence)


def _server(name: str, setting: str) -> Callable[[Settings], Check]:
    """Return a check that something accepts connections where a setting points."""

    def check(settings: Settings) -> Check:
        url = getattr(settings, setting)
        if not url:
            return _off(name, setting)
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


def _token(settings: Settings) -> Check:
    """Find out whether the bearer token that is configured can be read."""
    if settings.bearer_token:
        evidence = f"set in {settings.origin('bearer_token')}; its content is not read"
        return Check(name="token", status=Status.OK, evidence=evidence)
    return _readable("token", "bearer_token_file", settings)


def _x509(settings: Settings) -> Check:
    """Find out whether the X.509 proxy and the CA directory can be read."""
    proxy = _readable("x509", "x509_proxy", settings)
    directory = settings.x509_ca_dir
    if directory is None or proxy.status is Status.FAILED:
        return proxy
    if not directory.is_dir():
        return Check(
            name="x509",
            status=Status.FAILED,
            evidence=f"{directory}, from {settings.origin('x509_ca_dir')}: no folder",
            next_step="Correct x509_ca_dir, or install the certificate authorities.",
        )
    if proxy.status is Status.OFF:
        return proxy
    evidence = f"{proxy.evidence}; authorities in {directory}"
    return Check(name="x509", status=Status.OK, evidence=evidence)


def _readable(name: str, setting: str, settings: Settings) -> Check:
    """Check that a file that a setting names is there and holds something."""
    path: Path | None = getattr(settings, setting)
    if path is None:
        return _off(name, setting)
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


def _off(name: str, setting: str) -> Check:
    """Return the check of a service that is not configured."""
    return Check(
        name=name,
        status=Status.OFF,
        evidence=f"{setting} is not set",
        next_step=f"Set CASA_ENV_{setting.upper()}, or {setting} in a "
        "configuration file.",
    )


_SERVICES: Final[tuple[Callable[[Settings], Check], ...]] = (
    _server("xcache", "xcache_url"),
    _token,
    _x509,
    _server("mlflow", "mlflow_uri"),
    _server("triton", "triton_url"),
    _server("s3", "s3_endpoint"),
    _server("servicex", "servicex_endpoint"),
)
