"""Checks of what data needs: the cache, credentials, object store and ServiceX."""

from __future__ import annotations

from casa_env.checks import Check, Status, readable_file, server_check
from casa_env.settings import Settings

__all__ = ["s3", "servicex", "token", "x509", "xcache"]

xcache = server_check("xcache", "xcache_url")
s3 = server_check("s3", "s3_endpoint")
servicex = server_check("servicex", "servicex_endpoint")


def token(settings: Settings) -> Check:
    """Find out whether the bearer token that is configured can be read."""
    if settings.bearer_token:
        evidence = f"set in {settings.origin('bearer_token')}; its content is not read"
        return Check(name="token", status=Status.OK, evidence=evidence)
    return readable_file("token", "bearer_token_file", settings)


def x509(settings: Settings) -> Check:
    """Find out whether the X.509 proxy and the CA directory can be read."""
    proxy = readable_file("x509", "x509_proxy", settings)
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
