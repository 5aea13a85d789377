"""The settings of data: caches, credentials, the object store, ServiceX."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from casa_env import values
from casa_env.declaring import says as _says

__all__ = ["DataOptions"]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What data needs, with its defaults; a part of `casa_env.options.Options`."""

    xcache_url: str = field(
        default="",
        metadata=_says(
            values.text, "The XRootD cache to read through, root://host:port"
        ),
    )
    xcache_mode: str = field(
        default="forwarding",
        metadata=_says(
            values.text,
            "forwarding appends the origin's URL; fixed replaces its host",
            choices=("forwarding", "fixed"),
        ),
    )
    xcache_fallbacks: tuple[str, ...] = field(
        default=(),
        metadata=_says(
            values.texts, "Further caches, tried in this order before the origin"
        ),
    )
    xcache_https_origins: tuple[str, ...] = field(
        default=(),
        metadata=_says(
            values.texts,
            "host:port of https:// origins that speak XRootD there too: read through "
            "the cache",
        ),
    )
    bearer_token: str = field(
        default="",
        metadata=_says(
            values.secret, "A WLCG bearer token", "BEARER_TOKEN", secret=True
        ),
    )
    bearer_token_file: Path | None = field(
        default=None,
        metadata=_says(
            values.path, "The file that holds the bearer token", "BEARER_TOKEN_FILE"
        ),
    )
    hub_token_s: float = field(
        default=0.0,
        metadata=_says(
            values.number,
            "How often JupyterLab fetches that file from the hub, in seconds; 0 is "
            "never",
        ),
    )
    token_hosts: tuple[str, ...] = field(
        default=(),
        metadata=_says(
            values.texts,
            "The only hosts that a token may be sent to: host, host:port or .domain",
        ),
    )
    token_audiences: tuple[str, ...] = field(
        default=(),
        metadata=_says(
            values.texts, "What the site's services accept as a token's audience"
        ),
    )
    token_scopes: tuple[str, ...] = field(
        default=(),
        metadata=_says(
            values.texts, "What a token must allow here, such as storage.read:/"
        ),
    )
    x509_proxy: Path | None = field(
        default=None, metadata=_says(values.path, "The X.509 proxy", "X509_USER_PROXY")
    )
    x509_ca_dir: Path | None = field(
        default=None,
        metadata=_says(
            values.path, "The grid's certificate authorities", "X509_CERT_DIR"
        ),
    )
    s3_endpoint: str = field(
        default="",
        metadata=_says(
            values.text,
            "The object store behind s3:// URLs, https://host",
            "AWS_ENDPOINT_URL_S3",
            "AWS_ENDPOINT_URL",
        ),
    )
    s3_region: str = field(
        default="",
        metadata=_says(
            values.text,
            "That object store's region",
            "AWS_REGION",
            "AWS_DEFAULT_REGION",
        ),
    )
    s3_access_key: str = field(
        default="",
        metadata=_says(
            values.text, "The access key for it", "AWS_ACCESS_KEY_ID", secret=True
        ),
    )
    s3_secret_key: str = field(
        default="",
        metadata=_says(
            values.text,
            "The secret of that access key",
            "AWS_SECRET_ACCESS_KEY",
            secret=True,
        ),
    )
    s3_profile: str = field(
        default="",
        metadata=_says(
            values.text, "The profile of ~/.aws/credentials to use", "AWS_PROFILE"
        ),
    )
    servicex_endpoint: str = field(
        default="", metadata=_says(values.text, "The ServiceX server, https://host")
    )
    servicex_token_file: Path | None = field(
        default=None,
        metadata=_says(
            values.path, "The file that holds the refresh token of its web page"
        ),
    )
