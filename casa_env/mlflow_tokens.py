"""The bearer token for MLflow, looked up anew for every request that it makes.

Notes
-----
MLflow offers four ways to authenticate (3.17.2). ``MLFLOW_TRACKING_TOKEN`` is an
environment variable: renewing it would mean to write to ``os.environ`` behind the
user's back, and it goes to any server that is asked. A request-header provider is asked
for each request, but not told where that goes, so that it could give the token away. A
plugin through an entry point needs casa_env to be installed, which a clone need not be.
What is left is a request-auth provider, registered in process: ``requests`` calls it
with the finished request, so that it can look at the host, and takes the header off
again where a server redirects to another host. MLflow picks a provider by the name in
``MLFLOW_TRACKING_AUTH``; ours becomes that variable's default, so that a user's own
choice wins and the environment stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from casa_env.credentials import token_for
from casa_env.network import is_loopback
from casa_env.settings import Settings

if TYPE_CHECKING:
    from requests import PreparedRequest

__all__ = ["BearerAuth", "send_tokens"]

#: What MLflow knows our provider by.
NAME: Final = "casa-env"


@dataclass(frozen=True)
class BearerAuth:
    """Adds the token to a request, where its host may have it."""

    settings: Settings

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Return the request, with the token that the user has now.

        A request that has authorization already stays as it is, and so does one to a
        host that is not on the site's list, or that would go unencrypted.

        Raises
        ------
        CredentialsError
            If the token has expired, or cannot be read.
        """
        url = request.url or ""
        parts = urlsplit(url)
        private = parts.scheme == "https" or is_loopback(parts.hostname or "")
        if private and "Authorization" not in request.headers:
            token = token_for(url, self.settings)
            if token is not None:
                request.headers["Authorization"] = f"Bearer {token.value}"
        return request


@dataclass(frozen=True)
class _Provider:
    """What MLflow calls a request-auth provider."""

    auth: BearerAuth

    def get_name(self) -> str:
        """Return the name that it is picked by."""
        return NAME

    def get_auth(self) -> BearerAuth:
        """Return what `requests` calls with every request."""
        return self.auth


def send_tokens(settings: Settings) -> None:
    """Let MLflow's requests in this process carry the user's bearer token.

    Parameters
    ----------
    settings
        Where the token is, and the hosts that may have it.

    Notes
    -----
    Another call replaces the settings; it does not add a second provider.
    """
    from mlflow.environment_variables import MLFLOW_TRACKING_AUTH
    from mlflow.tracking.request_auth import registry

    providers = registry._request_auth_provider_registry._registry  # noqa: SLF001 - see the module: the public way is an entry point
    providers[:] = [p for p in providers if p.get_name() != NAME]
    providers.append(_Provider(BearerAuth(settings)))
    if MLFLOW_TRACKING_AUTH.default is None:
        MLFLOW_TRACKING_AUTH.default = NAME
