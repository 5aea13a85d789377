"""What a Triton server did, in place of what tritonclient raises of it."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Final

from casa_env import CasaEnvError, Settings
from casa_env.models.triton import TritonAddress, tls_context

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


class InferenceError(CasaEnvError):
    """A model did not score.

    Kinds: ``lost``, ``timeout``, ``refused``, ``certificate``, ``unknown``,
    ``mismatch`` and ``shape``.
    """


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
            context = tls_context(settings)()
            context.wrap_socket(connection, server_hostname=address.host).close()
    except ssl.SSLCertVerificationError as err:
        return "certificate", err.verify_message
    except (OSError, ValueError):
        pass
    return None
