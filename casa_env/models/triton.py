"""A Triton server: the native client with TLS and the user's token, and its errors."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from casa_env.errors import InferenceError, SettingsError, require_package
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

#: How long to look for the reason of a failed encrypted connection.
TLS_LOOK_S: Final = 5.0

#: By the status of Triton's gRPC, or of HTTP: the kind of `InferenceError`.
KINDS: Final = (
    dict.fromkeys(("UNAUTHENTICATED", "PERMISSION_DENIED", "401", "403"), "refused")
    | dict.fromkeys(("NOT_FOUND", "404"), "unknown")
    | dict.fromkeys(("INVALID_ARGUMENT", "400"), "shape")
    | dict.fromkeys(("DEADLINE_EXCEEDED", "499"), "timeout")
    | dict.fromkeys(("CANCELLED", "UNAVAILABLE", "502", "503", "504"), "lost")
)

#: By kind: what "The Triton server ..." did, and the next step.
SENTENCES: Final = {
    "refused": (
        "refused us",
        "Get a token (`casa-env doctor`); token_hosts must have the server's host.",
    ),
    "unknown": (
        "does not have this",
        "Publish the model to the server's repository, and let it load.",
    ),
    "shape": (
        "does not take these features",
        "Compare the features with what the model was trained on.",
    ),
    "timeout": (
        "did not answer within its time",
        "Ask whether the server is overloaded, or raise triton_timeout_s.",
    ),
    "lost": (
        "cannot be reached",
        "Ask whether the server is up, or allow triton_fallback.",
    ),
    "certificate": (
        "has a certificate that is not accepted",
        "Ask for a new certificate, or name its authority with triton_ca_file.",
    ),
    "": ("failed", "Look into the server's log."),
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
            ssl_context_factory=_tls_context(settings) if address.encrypted else None,
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


def _tls_context(settings: Settings) -> Callable[[], ssl.SSLContext]:
    """Return what makes a TLS context that trusts the site's authority."""
    # No partial: geventhttpclient would pass another cafile, which would win.
    return lambda: ssl.create_default_context(cafile=settings.triton_ca_file)


@contextlib.contextmanager
def explained(
    address: TritonAddress, settings: Settings, *, what: str, deadline_s: float
) -> Iterator[None]:
    """Turn what tritonclient raises into an `InferenceError` of one of `KINDS`.

    ``what`` is being done: ``"model x version 1"``. HTTP has no bound but the deadline.
    """
    import gevent
    from tritonclient.utils import InferenceServerException

    http = address.protocol == "http"
    message, cause = "", None
    try:
        with gevent.Timeout(deadline_s) if http else contextlib.nullcontext():
            yield
    except (gevent.Timeout, TimeoutError):
        kind = "timeout"
    except InferenceServerException as err:
        status = str(err.status() or "").removeprefix("StatusCode.")
        message = str(err.message() or "")
        kind = KINDS.get(status, "")
        if "unknown model" in message.lower() or "is not found" in message.lower():
            kind = "unknown"
        # The original holds gRPC's call, which cannot leave a Dask worker.
        cause = InferenceServerException(message, status)
    except (OSError, EOFError) as err:
        kind, message, cause = "lost", str(err), err
    else:
        return
    if kind == "lost" and address.encrypted:
        kind, message = _certificate_problem(address, settings) or (kind, message)
    sentence, step = SENTENCES[kind]
    first = f": {message.strip().splitlines()[0]}" if message.strip() else ""
    sentence = f"The Triton server {sentence}{first}."
    where = f"{what} at {address.protocol} {address.target}"
    raise InferenceError(
        sentence, looked_at=where, next_step=step, kind=kind
    ) from cause


def _certificate_problem(
    address: TritonAddress, settings: Settings
) -> tuple[str, str] | None:
    """Tell a certificate that is not accepted from a server that is down.

    gRPC says no more than that it cannot connect, so the handshake is done once again.
    """
    target = (address.host, address.port)
    try:
        with socket.create_connection(target, TLS_LOOK_S) as connection:
            context = _tls_context(settings)()
            context.wrap_socket(connection, server_hostname=address.host).close()
    except ssl.SSLCertVerificationError as err:
        return "certificate", err.verify_message
    except (OSError, ValueError):
        pass
    return None
