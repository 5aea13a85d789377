"""A Triton server: the native client, with TLS and the user's token."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from casa_env.errors import SettingsError, require_package
from casa_env.network import is_loopback
from casa_env.settings import Settings, load_settings
from casa_env.settings.table import shown
from casa_env.tokens.bearer import token_for

if TYPE_CHECKING:
    import tritonclient.grpc
    import tritonclient.http

#: By scheme: the protocol, whether it is encrypted, and the port of URLs without one.
SCHEMES: Final = {
    "grpc": ("grpc", False, 8001),
    "grpcs": ("grpc", True, 8001),
    "http": ("http", False, 8000),
    "https": ("http", True, 443),
}


class TritonAddress(NamedTuple):
    """Where a Triton server is; its protocol is ``"grpc"`` or ``"http"``."""

    protocol: str
    encrypted: bool
    host: str
    port: int
    path: str

    @property
    def target(self) -> str:
        """Host, port and path as tritonclient wants them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}{self.path}"


def triton_address(url: str) -> TritonAddress:
    """Parse a Triton server's URL; Triton's own ports where it names none.

    Examples
    --------
    >>> triton_address("grpcs://triton.example.org").target
    'triton.example.org:8001'
    """
    with contextlib.suppress(ValueError):  # a port that is no number
        parts = urlsplit(url)
        protocol, encrypted, usual = SCHEMES.get(parts.scheme, ("", False, 0))
        path, port = parts.path.rstrip("/"), parts.port or usual
        more = parts.username is not None or parts.query or parts.fragment
        if protocol and parts.hostname and not (more or (path and protocol == "grpc")):
            return TritonAddress(protocol, encrypted, parts.hostname, port, path)
    what = f"{shown(url)} is not the URL of a Triton server."
    step = "Write it as grpc://host:8001, grpcs://, http:// or https://."
    raise SettingsError(what, looked_at="triton_url", next_step=step)


def triton_client(
    settings: Settings | None = None, *, url: str | None = None
) -> tritonclient.grpc.InferenceServerClient | tritonclient.http.InferenceServerClient:
    """Return the native client of this place's Triton server.

    On a laptop and on Binder there is none, which is an error. At a facility it is the
    server that its file names, with the site's authority and the user's token.

    Parameters
    ----------
    settings
        Settings to use; by default those of this place.
    url
        Another server: ``grpc://``, ``grpcs://``, ``http://`` or ``https://``.

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
    require_package("tritonclient", why="A Triton server")
    from tritonclient import grpc, http

    authority = settings.triton_ca_file
    if address.protocol == "grpc":
        client = grpc.InferenceServerClient(
            address.target,
            ssl=address.encrypted,
            root_certificates=str(authority) if authority else None,
        )
    else:
        client = http.InferenceServerClient(
            address.target,
            connection_timeout=settings.timeout_s,
            network_timeout=settings.triton_timeout_s,
            ssl=address.encrypted,
            ssl_context_factory=tls_context(settings) if address.encrypted else None,
        )
    # With the port, which `token_for` does not know of Triton.
    target = f"{urlsplit(url).scheme}://{address.target}"
    private = address.encrypted or is_loopback(address.host)

    class BearerTokenPlugin(grpc.InferenceServerClientPlugin):  # type: ignore[misc] # untyped
        def __call__(self, request: Any) -> None:  # noqa: ANN401 - tritonclient's
            token = token_for(target, settings) if private else None
            if token is not None:
                request.headers.setdefault("authorization", f"Bearer {token.value}")

    client.register_plugin(BearerTokenPlugin())
    return client


def tls_context(settings: Settings) -> Callable[[], ssl.SSLContext]:
    """Return what makes a TLS context that trusts the site's authority."""
    # No partial: geventhttpclient would pass another cafile, which would win.
    return lambda: ssl.create_default_context(cafile=settings.triton_ca_file)
