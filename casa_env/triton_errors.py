"""What went wrong with a Triton server, each as its own error with a next step."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

from casa_env.errors import (
    InferenceCertificateError,
    InferenceError,
    InferenceRefusedError,
    InferenceTimeoutError,
    ModelShapeError,
    ServerLostError,
    UnknownModelError,
)
from casa_env.settings import Settings
from casa_env.triton import TritonAddress, tls_context

__all__ = ["told"]

#: How long to look for the reason of a failed encrypted connection.
TLS_LOOK_S: Final = 5.0

#: By what Triton's gRPC and HTTP answers say: the error.
KINDS: Final[dict[str, type[InferenceError]]] = {
    "UNAUTHENTICATED": InferenceRefusedError,
    "PERMISSION_DENIED": InferenceRefusedError,
    "401": InferenceRefusedError,
    "403": InferenceRefusedError,
    "NOT_FOUND": UnknownModelError,
    "404": UnknownModelError,
    "INVALID_ARGUMENT": ModelShapeError,
    "400": ModelShapeError,
    "DEADLINE_EXCEEDED": InferenceTimeoutError,
    "499": InferenceTimeoutError,
    "CANCELLED": ServerLostError,
    "UNAVAILABLE": ServerLostError,
    "502": ServerLostError,
    "503": ServerLostError,
    "504": ServerLostError,
}

NEXT_STEPS: Final = {
    InferenceRefusedError: "Get a token (`casa-env doctor` shows yours), and see that "
    "token_hosts has the server's host: a token goes to no other.",
    UnknownModelError: "Publish the model to the server's repository, and let it load.",
    ModelShapeError: "Compare the features with what the model was trained on.",
    InferenceTimeoutError: "Ask whether the server is overloaded, or raise "
    "triton_timeout_s.",
    ServerLostError: "Ask whether the server is up, or allow triton_fallback.",
    InferenceCertificateError: "Ask for a new certificate, or set triton_ca_file to "
    "the authority that signed it.",
}


@contextlib.contextmanager
def told(
    address: TritonAddress, settings: Settings, *, what: str, deadline_s: float
) -> Iterator[None]:
    """Turn what tritonclient raises into errors that say what to do.

    Parameters
    ----------
    address, settings
        Of the server.
    what
        What is being done, for the error: ``"model x version 1"``.
    deadline_s
        The time that this may take; HTTP has no other bound.

    Raises
    ------
    ServerLostError, InferenceTimeoutError, InferenceCertificateError,
    InferenceRefusedError, UnknownModelError, ModelShapeError, InferenceError
        See `KINDS`.
    """
    import gevent
    from tritonclient.utils import InferenceServerException

    guard: Any = contextlib.nullcontext()
    if address.protocol == "http":
        guard = gevent.Timeout(deadline_s)
    try:
        with guard:
            yield
    except gevent.Timeout as err:
        cause: Exception = TimeoutError(str(err))
        raise _error(InferenceTimeoutError, "", what, address) from cause
    except InferenceServerException as err:
        # The original holds gRPC's call, which cannot leave a Dask worker.
        cause = InferenceServerException(str(err.message()), str(err.status()))
        raise _answered(err, what, address, settings) from cause
    except ssl.SSLError as err:
        raise _encrypted(str(err), what, address, settings) from err
    except TimeoutError as err:
        raise _error(InferenceTimeoutError, "", what, address) from err
    except (OSError, EOFError) as err:
        raise _error(ServerLostError, str(err), what, address) from err


def _answered(
    err: Any,  # noqa: ANN401 - tritonclient is untyped
    what: str,
    address: TritonAddress,
    settings: Settings,
) -> InferenceError:
    """Return the error for what a server answered, or gRPC said in its place."""
    status = str(err.status() or "").removeprefix("StatusCode.")
    message = str(err.message() or "")
    kind = KINDS.get(status, InferenceError)
    if "unknown model" in message.lower() or "is not found" in message.lower():
        kind = UnknownModelError
    if kind is ServerLostError and address.encrypted:
        return _encrypted(message, what, address, settings)
    return _error(kind, message, what, address)


def _encrypted(
    message: str, what: str, address: TritonAddress, settings: Settings
) -> InferenceError:
    """Tell a certificate that is not accepted from a server that is down.

    gRPC says no more than that it cannot connect, so the handshake is done once again.
    """
    try:
        with (
            socket.create_connection(
                (address.host, address.port), TLS_LOOK_S
            ) as connection,
            tls_context(settings)().wrap_socket(
                connection, server_hostname=address.host
            ),
        ):
            return _error(ServerLostError, message, what, address)
    except ssl.SSLCertVerificationError as err:
        return _error(InferenceCertificateError, err.verify_message, what, address)
    except (OSError, ValueError):
        return _error(ServerLostError, message, what, address)


SENTENCES: Final = {
    InferenceRefusedError: "The Triton server refused us",
    UnknownModelError: "The Triton server does not have this",
    ModelShapeError: "The Triton server does not take these features",
    InferenceTimeoutError: "The Triton server did not answer within its time",
    ServerLostError: "The Triton server cannot be reached",
    InferenceCertificateError: "The Triton server's certificate is not accepted",
}


def _error(
    kind: type[InferenceError], message: str, what: str, address: TritonAddress
) -> InferenceError:
    sentence = SENTENCES.get(kind, "The Triton server failed")
    first = message.strip().splitlines()[0] if message.strip() else ""
    return kind(
        f"{sentence}{': ' + first if first else ''}.",
        looked_at=f"{what} at {address.protocol} {address.target}",
        next_step=NEXT_STEPS.get(kind, "Look into the server's log."),
    )
