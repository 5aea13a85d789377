"""Object stores: how `s3fs` reaches the site's, for reading and for writing."""

from __future__ import annotations

from typing import Any

from casa_env.settings import Settings, load_settings

__all__ = ["s3_options", "store_answer"]


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


def store_answer(settings: Settings) -> tuple[int, str]:
    """Ask the store for our buckets, in a bounded time.

    Parameters
    ----------
    settings
        With the endpoint and the key.

    Returns
    -------
    tuple of int and str
        How many buckets the key sees, and what went wrong; empty if nothing did. A key
        that may not list buckets is not wrong.
    """
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.session import Session

    options = s3_options(settings)
    session = Session(profile=settings.s3_profile or None)
    names = {"key": "aws_access_key_id", "secret": "aws_secret_access_key"}
    keys = {names[name]: options[name] for name in names if name in options}
    try:
        client = session.create_client(
            "s3",
            config=Config(**options["config_kwargs"]),
            **{"region_name": "us-east-1"} | options["client_kwargs"],
            **keys,
        )
        try:
            return len(client.list_buckets()["Buckets"]), ""
        finally:
            client.close()
    except ClientError as err:
        error = err.response.get("Error", {})
        if error.get("Code") == "AccessDenied" and keys:
            return 0, ""
        return 0, f"{error.get('Code', '')} {error.get('Message', '')}".strip()
    except (BotoCoreError, ValueError) as err:
        return 0, str(err)
