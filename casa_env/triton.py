"""A Triton server: its address, and the native client with TLS and the user's token."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from casa_env.credentials import token_for
from casa_env.errors import MissingPackageError, SettingsError
from casa_env.network import is_loopback
from casa_env.settings import Settings, load_settings
from casa_env.settings.table import shown

if TYPE_CHECKING:
    import tritonclient.grpc
    import tritonclient.http

__all__ = ["TritonAddress", "triton_address", "triton_client"]

#: Triton's own ports, for URLs that name none.
DEFAULT_PORTS: Final = {"grpc": 8001, "http": 8000}

#: The schemes: protocol and whether it is encrypted.
SCHEMES: Final = {
    "grpc": ("grpc", False),
    "grpcs": ("grpc", True),
    "http": ("http", False),
    "https": ("http", True),
}


@dataclass(frozen=True, kw_only=True)
class TritonAddress:
    """Where a Triton server is and how it is spoken to."""

    protocol: str
    """``"grpc"`` or ``"http"``."""

    encrypted: bool
    """Whether TLS is used."""

    host: str
    """Host name or address."""

    port: int
    """TCP port."""

    path: str = ""
    """What comes before Triton's own paths; HTTP only."""

    @property
    def target(self) -> str:
        """Host and port as tritonclient wants them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.path}"

    @property
    def private(self) -> bool:
        """Whether nobody listens on the way, so that a token may be sent."""
        return self.encrypted or is_loopback(self.host)


def triton_address(url: str) -> TritonAddress:
    """Parse a Triton server's URL.

    Parameters
    ----------
    url
        ``grpc://``, ``grpcs://``, ``http://`` or ``https://``, host and port. Without a
        port Triton's own are meant, 8001 and 8000, and 443 for ``https``.

    Returns
    -------
    TritonAddress
        Its parts.

    Raises
    ------
    SettingsError
        If it is something else.

    Examples
    --------
    >>> triton_address("grpcs://triton.example.org").target
    'triton.example.org:8001'
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    known = SCHEMES.get(parts.scheme)
    odd = parts.username is not None or parts.query or parts.fragment
    path = parts.path.rstrip("/")
    if known is None or not parts.hostname or odd or (path and known[0] == "grpc"):
        what = f"{shown(url)} is not the URL of a Triton server."
        step = "Write it as grpc://host:8001, grpcs://, http:// or https://."
        raise SettingsError(what, looked_at="triton_url", next_step=step)
    protocol, encrypted = known
    usual = 443 if parts.scheme == "https" else DEFAULT_PORTS[protocol]
    return TritonAddress(
        protocol=protocol,
        encrypted=encrypted,
        host=parts.hostname,
        port=port or usual,
        path=path,
    )


def triton_client(
    settings: Settings | None = None, *, url: str | None = None
) -> tritonclient.grpc.InferenceServerClient | tritonclient.http.InferenceServerClient:
    """Return the native client of this place's Triton server.

    On a laptop and on Binder there is none: then this is an error, and
    `casa_env.predictor` scores in process. At a facility it is the server that its file
    names, with the site's authority and the user's token.

    Parameters
    ----------
    settings
        Settings to use; by default those of this place.
    url
        Another server, as `triton_address` takes it.

    Returns
    -------
    tritonclient.grpc.InferenceServerClient or tritonclient.http.InferenceServerClient
        By the URL's scheme. No connection is made yet. The token is looked up anew for
        every request. The HTTP client belongs to the thread that made it.

    Raises
    ------
    SettingsError
        If there is no URL, or it is not a Triton server's.
    MissingPackageError
        If tritonclient is not installed.
    """
    settings = settings or load_settings()
    url = url or settings.triton_url
    if not url:
        what = "This place has no Triton server."
        step = "Set triton_url (CASA_ENV_TRITON_URL), or score in process."
        raise SettingsError(what, looked_at="triton_url", next_step=step)
    address = triton_address(url)
    try:
        client = _grpc(address, settings) if address.protocol == "grpc" else None
        client = client or _http(address, settings)
    except ImportError as err:
        what = "tritonclient is not installed here."
        step = "pip install 'tritonclient[grpc,http]'"
        raise MissingPackageError(what, next_step=step) from err
    client.register_plugin(_token_plugin(url, address, settings))
    return client


def _grpc(
    address: TritonAddress, settings: Settings
) -> tritonclient.grpc.InferenceServerClient:
    from tritonclient.grpc import InferenceServerClient

    authority = settings.triton_ca_file
    return InferenceServerClient(
        address.target,
        ssl=address.encrypted,
        root_certificates=str(authority) if authority else None,
    )


def _http(
    address: TritonAddress, settings: Settings
) -> tritonclient.http.InferenceServerClient:
    from tritonclient.http import InferenceServerClient

    return InferenceServerClient(
        address.target,
        connection_timeout=settings.timeout_s,
        network_timeout=settings.triton_timeout_s,
        ssl=address.encrypted,
        ssl_context_factory=tls_context(settings) if address.encrypted else None,
    )


def tls_context(settings: Settings) -> Callable[[], ssl.SSLContext]:
    """Return what makes a TLS context that trusts the site's authority."""
    authority = settings.triton_ca_file

    def context() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=authority)

    return context


def _token_plugin(url: str, address: TritonAddress, settings: Settings) -> Any:  # noqa: ANN401 - its class needs tritonclient
    """Return what tritonclient calls with every request, to add the token."""
    from tritonclient.grpc import InferenceServerClientPlugin

    # `token_for` knows the ports of web servers only.
    target = f"{urlsplit(url).scheme}://{address.target}"

    class BearerTokenPlugin(InferenceServerClientPlugin):  # type: ignore[misc] # untyped
        def __call__(self, request: Any) -> None:  # noqa: ANN401 - tritonclient's
            token = token_for(target, settings) if address.private else None
            if token is not None:
                request.headers.setdefault("authorization", f"Bearer {token.value}")

    return BearerTokenPlugin()
