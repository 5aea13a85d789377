"""Is this place well: one check for each service, with evidence and a next step."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from casa_env.errors import CasaEnvError, redacted
from casa_env.network import host_and_port, proxy_for, tcp_problem, xrootd_problem
from casa_env.settings import Settings, load_settings
from casa_env.settings.places import content_of, writable_environment

#: Below this much, the analysis and its caches get into trouble.
LITTLE_DISK_BYTES: Final = 2_000_000_000
LITTLE_MEMORY_BYTES: Final = 1_000_000_000

#: How long a batch system or a Gateway may take to start one worker, in seconds. A
#: check is for seeing at once what is wrong; a full queue may take longer.
PATIENCE_S: Final = 60.0


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
    status: Status
    evidence: str  # what was looked at and what was found
    next_step: str = ""  # what to do, unless all is well


# The evidence, and what to do about it if that is a warning; none where a service is
# not configured. What is raised has failed.
_Found = tuple[str, str] | None

_CHECKS: Final[list[Callable[[Settings], Check]]] = []


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
    return [look(settings) for look in _CHECKS]


def _check(
    setting: str = "",
) -> Callable[[Callable[[Settings], _Found]], Callable[[Settings], Check]]:
    """Make a check of a function; it is off where its setting is empty."""

    def decorate(look: Callable[[Settings], _Found]) -> Callable[[Settings], Check]:
        def run(settings: Settings) -> Check:
            try:
                found = look(settings)
            except CasaEnvError as err:
                status, evidence = Status.FAILED, f"{err.what} {err.looked_at}".strip()
                step = err.next_step
            except Exception as err:  # noqa: BLE001 - a broken package raises anything
                status, evidence = Status.FAILED, f"{type(err).__name__}: {err}"
                step = "A package is broken, or not this environment's: see above."
            else:
                if found is None:
                    status, evidence = Status.OFF, f"{setting} is not set"
                    step = f"Set CASA_ENV_{setting.upper()}, or {setting} in a "
                    step += "configuration file."
                else:
                    evidence, step = found
                    status = Status.WARNING if step else Status.OK
            return Check(
                name=look.__name__, status=status, evidence=evidence, next_step=step
            )

        _CHECKS.append(run)
        return run

    return decorate


@_check()
def environment(_: Settings) -> _Found:
    """Tell which Python this is, what is installed in it and what comes before that."""
    from casa_env.workers.sameness import environment_here

    here = environment_here()
    packages = f"{len(here.packages)} packages, id {here.id}"
    evidence, step = f"Python {here.python} on {here.platform}, {packages}", ""
    if found := [one for one in here.packages if one[1].startswith("from ")]:
        evidence += f"; {' is '.join(found[0])}, not from this environment"
        evidence += f", and {len(found) - 1} more" if len(found) > 1 else ""
        step = "Unset PYTHONPATH, PYTHONHOME; set PYTHONNOUSERSITE=1; or change folder."
    elif startup := os.environ.get("PYTHONSTARTUP"):
        step = f"Unset PYTHONSTARTUP: notebooks run {startup} before their first cell."
    return evidence, step


@_check()
def caches(_: Settings) -> _Found:
    """Find out whether programs can write their caches."""
    extra, reason = writable_environment(os.environ)
    if not extra:
        return "the home directory can be written", ""
    names = ", ".join(list(extra)[:2])
    step = f"`casa-env run` and `make` see to that; elsewhere set {names} and so on, "
    return reason, f"{step}or HOME."


@_check()
def disk(_: Settings) -> _Found:
    """Look how much room there is in the working directory and for temporary files."""
    folders = [Path.cwd(), Path(tempfile.gettempdir())]
    free, least = min((shutil.disk_usage(path).free, path) for path in folders)
    step = "Make room, or set TMPDIR to a larger disk."
    evidence = f"{free / 1e9:.1f} GB free below {least}"
    return evidence, step if free < LITTLE_DISK_BYTES else ""


@_check()
def memory(settings: Settings) -> _Found:
    """Look how much memory this session may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if find_spec("distributed"):  # it knows the limits of containers, too
        from distributed.system import MEMORY_LIMIT

        total = min(total, MEMORY_LIMIT)
    limit = settings.memory_limit_bytes
    usable = min(total, limit) if limit else total
    source = f"limit from {settings.origin('memory_limit_bytes')}" if limit else "all"
    evidence = f"{usable / 1e9:.1f} GB ({source}) of {total / 1e9:.1f} GB"
    step = "Ask for more when you start the session."
    return evidence, step if usable < LITTLE_MEMORY_BYTES else ""


@_check()
def dask(settings: Settings) -> _Found:
    """Let a cluster compute something: one of our own, or the site's."""
    from casa_env.workers.clusters import dask_client
    from casa_env.workers.local import size_here

    began = time.monotonic()
    backend = settings.dask_backend
    one = replace(
        settings,
        dask_workers=1,
        dask_max_workers=0,
        dask_dashboard="",
        dask_wait_s=min(settings.dask_wait_s, PATIENCE_S),
    )
    try:
        with dask_client(settings=one) as client:
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
            if workers:
                client.submit(sum, [1, 2], pure=False).result(settings.timeout_s)
    except CasaEnvError as err:
        err.what = f"{backend}: {err.what}"
        raise
    except OSError as err:
        what = f"{backend}: {str(err) or repr(err)}"
        raise CasaEnvError(what, next_step="Look at the lines above.") from err
    took = f"{time.monotonic() - began:.1f} s"
    if backend == "join":
        where = f"{settings.shown('dask_address')} has {workers} worker(s)"
        if not workers:
            return where, "Start workers, or wait for them: nothing is computed else."
        return f"join: {where}; one computed in {took}", ""
    if backend != "local":
        return f"{backend}: a worker started, computed and stopped in {took}", ""
    size = size_here(settings)
    kind = "process" if settings.dask_processes else "thread pool"
    return (
        f"local: a worker {kind} started, computed and stopped in {took}; "
        f"dask_client() starts {size.workers} with {size.threads} thread(s) and "
        f"{size.memory_bytes / 1e9:.1f} GB each"
    ), ""


@_check("xcache_url")
def xcache(settings: Settings) -> _Found:
    """Find out whether the caches speak XRootD."""
    if not settings.xcache_url:
        return None
    step = "Correct xcache_url, or ask whether the cache is up; until then files are "
    step += "read from the next source."
    answers = {}
    for url in (settings.xcache_url, *settings.xcache_fallbacks):
        target = host_and_port(url)
        problem = "this is not the URL of a server"
        if target is not None:
            problem = xrootd_problem(*target, timeout=settings.timeout_s)
        answers[redacted(url)] = problem
    lines = (f"{url}: {answer or 'speaks XRootD'}" for url, answer in answers.items())
    evidence = f"{'; '.join(lines)}; from {settings.origin('xcache_url')}"
    if all(answers.values()):
        raise CasaEnvError(evidence, next_step=step)
    return evidence, step if any(answers.values()) else ""


@_check("bearer_token_file")
def token(settings: Settings) -> _Found:
    """Find the bearer token; look when it expires and whether it fits this site."""
    from casa_env.tokens.bearer import bearer_token, require_current, require_rules

    now = time.time()
    found = bearer_token(settings)
    if found is None and not settings.token_hosts:
        return None
    if found is None:
        what = f"there is none, and {', '.join(settings.token_hosts)} may want one"
        step = "Get a token, or name its file with BEARER_TOKEN_FILE."
        raise CasaEnvError(what, next_step=step)
    require_current(found, now)
    require_rules(found, settings)
    evidence = f"{found.origin}: {found.described(now)}"
    if found.ends_soon(now) and not settings.hub_token_s:  # which renews it in time
        return evidence, "Get a new token before you start anything long."
    file = settings.bearer_token_file
    if file and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        return evidence, f"chmod 600 {file}: others can read it."
    if not settings.token_hosts:
        return evidence, "Set token_hosts to the hosts that may get it: now none does."
    return evidence, ""


@_check("x509_proxy")
def x509(settings: Settings) -> _Found:
    """Find the X.509 proxy and the certificate authorities."""
    from casa_env.tokens.bearer import SOON_S
    from casa_env.tokens.proxy import authorities, x509_proxy

    now = time.time()
    evidence, step = [], ""
    folder = settings.x509_ca_dir
    if folder is not None:
        evidence.append(f"{authorities(folder)} authorities in {folder}")
        if not settings.origin("x509_ca_dir").startswith("X509_CERT_DIR"):
            step = f"Set X509_CERT_DIR={folder} too: XRootD's client reads that "
            step += "variable only."
    proxy = x509_proxy(settings)
    if proxy is not None:
        evidence.append(f"{proxy.file}: {proxy.described(now)}")
        if proxy.expires_at <= now:
            step = "Make a new proxy: voms-proxy-init."
            raise CasaEnvError("; ".join(evidence), next_step=step)
        if proxy.expires_at < now + SOON_S:
            step = "Make a new proxy before you start anything long."
        elif proxy.open_to_others:
            step = f"chmod 600 {proxy.file}: others can read its key."
    return ("; ".join(evidence), step) if evidence else None


@_check("mlflow_uri")
def mlflow(settings: Settings) -> _Found:
    """Ask the tracking server for its version and whether it takes our token."""
    from casa_env.models.mlflow import is_server, server_version

    if not settings.mlflow_uri:
        return None
    if not is_server(settings.mlflow_uri):
        return (
            f"{settings.where('mlflow_uri')}: a file or database, without a server",
            "",
        )
    where = _reached("mlflow_uri", settings)
    began = time.monotonic()
    version = server_version(settings.mlflow_uri, settings)
    took = (time.monotonic() - began) * 1000
    return f"{where}: MLflow {version} answered twice in {took:.0f} ms", ""


@_check("triton_url")
def triton(settings: Settings) -> _Found:
    """Ask the inference server for its version and its models."""
    from casa_env.models.triton import triton_address, triton_client

    if not settings.triton_url:
        return None
    address = triton_address(settings.triton_url)
    where = _reached("triton_url", settings, (address.host, address.port))
    client: Any = triton_client(replace(settings, triton_timeout_s=settings.timeout_s))
    options: dict[str, Any] = {}
    if address.protocol == "grpc":
        options = {"as_json": True, "client_timeout": settings.timeout_s}
    try:
        version = client.get_server_metadata(**options)["version"]
        began = time.monotonic()
        client.get_server_metadata(**options)
        took = (time.monotonic() - began) * 1000
        index = client.get_model_repository_index(**options)
    except Exception as err:  # gevent's, ssl's and tritonclient's own
        what = f"{where}: does not answer as Triton does: {err!r}"
        step = "Correct triton_url and triton_ca_file, or ask whether the server is up."
        raise CasaEnvError(what, next_step=step) from err
    finally:
        client.close()
    models = index.get("models", []) if isinstance(index, dict) else index
    ready = sorted(
        f"{model['name']} version {model['version']}"
        for model in models
        if model.get("state") == "READY"
    )
    evidence = f"{where}: Triton {version} answered in {took:.0f} ms"
    if not ready:
        step = "Publish models to its repository (triton_repository)."
        return f"{evidence}; no model is ready", step
    return f"{evidence}; ready: {', '.join(ready)}", ""


@_check("s3_endpoint")
def s3(settings: Settings) -> _Found:
    """Find out whether the object store accepts our key."""
    from casa_env.data.xcache import s3_buckets

    if not settings.s3_endpoint:
        return None
    where = _reached("s3_endpoint", settings)
    buckets, problem = s3_buckets(settings)
    if problem:
        step = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or s3_profile, to a "
        step += "key that this store knows."
        what = f"{where}: {problem}"
        raise CasaEnvError(what, next_step=step)
    return f"{where}: accepts our key, which sees {buckets} buckets", ""


@_check("servicex_endpoint")
def servicex(settings: Settings) -> _Found:
    """Ask ServiceX who it is, and whether it knows us."""
    import requests

    from casa_env.tokens.bearer import token_for

    if not settings.servicex_endpoint:
        return None
    where = _reached("servicex_endpoint", settings)

    def answer(method: str, path: str, bearer: str) -> Any:  # noqa: ANN401 - JSON
        url = settings.servicex_endpoint.rstrip("/") + path

        def auth(request: Any) -> Any:  # noqa: ANN401 - not a header, for ~/.netrc wins
            if bearer:
                request.headers["Authorization"] = f"Bearer {bearer}"
            return request

        # A redirect is an answer: what we send is for this host only.
        options: dict[str, Any] = {"auth": auth, "allow_redirects": False}
        got = requests.request(method, url, timeout=settings.timeout_s, **options)
        got.raise_for_status()
        return got.json()

    try:
        file = settings.servicex_token_file
        found = None if file else token_for(settings.servicex_endpoint, settings)
        bearer = found.value if found else ""
        if file:
            refresh = content_of(file, named=True).decode().strip()
            bearer = answer("POST", "/token/refresh", refresh)["access_token"]
        version = answer("GET", "/servicex", bearer)["app-version"]
    except (OSError, ValueError, KeyError, TypeError) as err:
        what = f"{where}: it does not answer as ServiceX does ({err})"
        step = "Name the file of the token from its web page with servicex_token_file, "
        step += "or correct servicex_endpoint."
        raise CasaEnvError(what, next_step=step) from err
    return f"{where}: ServiceX {version}", ""


def _reached(
    setting: str, settings: Settings, target: tuple[str, int] | None = None
) -> str:
    """Return where a setting points; raise unless something accepts connections."""
    url, where = getattr(settings, setting), settings.where(setting)
    if target is None and (proxy := proxy_for(url)):
        url, where = proxy, f"{where}, through the proxy {redacted(proxy)}"
    target = target or host_and_port(url)
    problem = "this is not the URL of a server"
    if target is not None:
        problem = tcp_problem(*target, timeout=settings.timeout_s)
    if problem:
        what = f"{where}: {problem}"
        step = f"Correct {setting}, or ask whether the server is up."
        raise CasaEnvError(what, next_step=step)
    return where
