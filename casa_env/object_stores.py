"""Object stores: how `s3fs` reaches the site's, for reading and for writing."""

from __future__ import annotations

from typing import Any

from casa_env.settings import Settings, load_settings

__all__ = ["s3_options"]


def s3_options(settings: Settings | None = None) -> dict[str, Any]:
    """Return the storage options for ``s3://`` URLs.

    On a laptop and on Binder they are those of `s3fs` itself unless the ecosystem's
    variables or the user's file say otherwise. At a facility they name its endpoint.
    They fit `fsspec.open`, `uproot.open`, `pandas` and `pyarrow` alike.

    Parameters
    ----------
    settings
        Settings to use; by default those of this place.

    Returns
    -------
    dict
        Options of `s3fs.S3FileSystem`. They may hold a secret key: do not print them.

    Notes
    -----
    Checksums that S3 added in 2024 are sent and checked only where a request needs
    them: rclone and other stores that speak S3 return none for ranges, or wrong ones
    (botocore's ``request_checksum_calculation``, ``response_checksum_validation``).
    Paths name the bucket, not the host, because a facility's store has one host name.

    Examples
    --------
    >>> options = s3_options(Settings(s3_endpoint="https://s3.example.org"))
    >>> options["client_kwargs"]["endpoint_url"]
    'https://s3.example.org'
    """
    settings = settings or load_settings()
    client: dict[str, Any] = {}
    config: dict[str, Any] = {
        "connect_timeout": settings.timeout_s,
        "read_timeout": 6 * settings.timeout_s,
        "retries": {"max_attempts": 2},
    }
    if settings.s3_endpoint:
        client["endpoint_url"] = settings.s3_endpoint
        config |= {
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
            "s3": {"addressing_style": "path"},
        }
    if settings.s3_region:
        client["region_name"] = settings.s3_region
    options: dict[str, Any] = {"client_kwargs": client, "config_kwargs": config}
    if settings.s3_access_key:
        options["key"] = settings.s3_access_key
    if settings.s3_secret_key:
        options["secret"] = settings.s3_secret_key
    if settings.s3_profile and not settings.s3_access_key:
        options["profile"] = settings.s3_profile
    return options
