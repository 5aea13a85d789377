"""Checks of what data needs: the cache, credentials, object store and ServiceX."""

from __future__ import annotations

import stat
import time
from pathlib import Path
from typing import Any, Final

from casa_env.checks import Check, Status, off, server_check
from casa_env.errors import CasaEnvError
from casa_env.network import host_and_port, xrootd_problem
from casa_env.settings import Settings

__all__ = ["s3", "servicex", "token", "x509", "xcache"]

#: What ends within this time, in seconds, is warned of.
SOON_S: Final = 1800.0


def xcache(settings: Settings) -> Check:
    """Find out whether the caches speak XRootD."""
    if not settings.xcache_url:
        return off("xcache", "xcache_url")
    caches = [settings.xcache_url, *settings.xcache_fallbacks]
    said, problems = [], 0
    for url in caches:
        target = host_and_port(url)
        problem = "this is not the URL of a server"
        if target is not None:
            problem = xrootd_problem(*target, timeout=settings.timeout_s)
        problems += bool(problem)
        said.append(f"{url.rpartition('@')[2]}: {problem or 'speaks XRootD'}")
    evidence = f"{'; '.join(said)}; from {settings.origin('xcache_url')}"
    if not problems:
        return Check(name="xcache", status=Status.OK, evidence=evidence)
    all_down = problems == len(caches)
    return Check(
        name="xcache",
        status=Status.FAILED if all_down else Status.WARNING,
        evidence=evidence,
        next_step="Correct xcache_url, or ask whether the cache is up; until then "
        "files are read from the next source.",
    )


def token(settings: Settings) -> Check:
    """Find the bearer token; look when it expires and whether it fits this site."""
    from casa_env.bearer_tokens import require_current
    from casa_env.credentials import bearer_token
    from casa_env.token_rules import require_rules

    now = time.time()
    try:
        found = bearer_token(settings)
        if found is None and not settings.token_hosts:
            return off("token", "bearer_token_file")
        if found is None:
            hosts = ", ".join(settings.token_hosts)
            return Check(
                name="token",
                status=Status.FAILED,
                evidence=f"there is none, and {hosts} may want one",
                next_step="Get a token, or name its file with BEARER_TOKEN_FILE.",
            )
        require_current(found, now)
        require_rules(found, settings)
    except CasaEnvError as err:
        return _failed("token", err)
    evidence = f"{found.origin}: {found.described(now)}"
    warning = ""
    ends_soon = found.expires_at is not None and found.expires_at < now + SOON_S
    if ends_soon and not settings.hub_token_s:  # which renews it in time
        warning = "Get a new token before you start anything long."
    elif settings.bearer_token_file and _open_to_others(settings.bearer_token_file):
        warning = f"chmod 600 {settings.bearer_token_file}: others can read it."
    elif not settings.token_hosts:
        warning = "Set token_hosts to the hosts that may get it: now none does."
    status = Status.WARNING if warning else Status.OK
    return Check(name="token", status=status, evidence=evidence, next_step=warning)


def x509(settings: Settings) -> Check:
    """Find the X.509 proxy and the certificate authorities."""
    from casa_env.x509 import authorities, x509_proxy

    now = time.time()
    said, warning = [], ""
    try:
        if settings.x509_ca_dir is not None:
            count = authorities(settings.x509_ca_dir)
            said.append(f"{count} authorities in {settings.x509_ca_dir}")
            if not settings.origin("x509_ca_dir").startswith("X509_CERT_DIR"):
                warning = (
                    f"Set X509_CERT_DIR={settings.x509_ca_dir} too: XRootD's client "
                    "reads that variable only."
                )
        proxy = x509_proxy(settings)
    except CasaEnvError as err:
        return _failed("x509", err)
    if proxy is not None:
        said.append(f"{proxy.file}: {proxy.described(now)}")
        if proxy.expires_at <= now:
            return Check(
                name="x509",
                status=Status.FAILED,
                evidence="; ".join(said),
                next_step="Make a new proxy: voms-proxy-init.",
            )
        if proxy.expires_at < now + SOON_S:
            warning = "Make a new proxy before you start anything long."
        elif proxy.open_to_others:
            warning = f"chmod 600 {proxy.file}: others can read its key."
    if not said:
        return off("x509", "x509_proxy")
    status = Status.WARNING if warning else Status.OK
    evidence = "; ".join(said)
    return Check(name="x509", status=status, evidence=evidence, next_step=warning)


def s3(settings: Settings) -> Check:
    """Find out whether the object store accepts our key."""
    if not settings.s3_endpoint:
        return off("s3", "s3_endpoint")
    connected = server_check("s3", "s3_endpoint")(settings)
    if connected.status is Status.FAILED:
        return connected
    from casa_env.object_stores import store_answer

    where = f"{settings.shown('s3_endpoint')}, from {settings.origin('s3_endpoint')}"
    buckets, problem = store_answer(settings)
    if problem:
        return Check(
            name="s3",
            status=Status.FAILED,
            evidence=f"{where}: {problem}",
            next_step="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or s3_profile, "
            "to a key that this store knows.",
        )
    evidence = f"{where}: accepts our key, which sees {buckets} buckets"
    return Check(name="s3", status=Status.OK, evidence=evidence)


def servicex(settings: Settings) -> Check:
    """Ask ServiceX who it is, and whether it knows us."""
    if not settings.servicex_endpoint:
        return off("servicex", "servicex_endpoint")
    connected = server_check("servicex", "servicex_endpoint")(settings)
    if connected.status is Status.FAILED:
        return connected
    where = settings.where("servicex_endpoint")
    try:
        version = _servicex_version(settings)
    except CasaEnvError as err:
        return _failed("servicex", err)
    except (OSError, ValueError, KeyError) as err:
        return Check(
            name="servicex",
            status=Status.FAILED,
            evidence=f"{where}: does not answer as ServiceX does ({err})",
            next_step="Name the file of the token from its web page with "
            "servicex_token_file, or correct servicex_endpoint.",
        )
    evidence = f"{where}: ServiceX {version}"
    return Check(name="servicex", status=Status.OK, evidence=evidence)


def _servicex_version(settings: Settings) -> str:
    """Ask ServiceX for its version, as the user."""
    import requests

    from casa_env.tokens.bearer import token_for

    def answer(method: str, path: str, bearer: str) -> Any:  # noqa: ANN401 - JSON
        url = settings.servicex_endpoint.rstrip("/") + path
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        # A redirect is an answer: what we send is for this host only.
        options: dict[str, Any] = {"headers": headers, "allow_redirects": False}
        got = requests.request(method, url, timeout=settings.timeout_s, **options)
        got.raise_for_status()
        return got.json()

    file = settings.servicex_token_file
    found = None if file else token_for(settings.servicex_endpoint, settings)
    bearer = found.value if found else ""
    if file:
        refresh = file.read_text().strip()
        bearer = answer("POST", "/token/refresh", refresh)["access_token"]
    return str(answer("GET", "/servicex", bearer)["app-version"])


def _failed(name: str, err: CasaEnvError) -> Check:
    """Return the check of something that raised one of our errors."""
    evidence = f"{err.what} {err.looked_at}".strip()
    step = err.next_step
    return Check(name=name, status=Status.FAILED, evidence=evidence, next_step=step)


def _open_to_others(file: Path) -> bool:
    """Tell whether others may read a file."""
    return bool(file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
