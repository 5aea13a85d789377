"""One version of a model on a Triton server: what it is, and its scores."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from casa_env.errors import InferenceError, ServerLostError
from casa_env.network import is_loopback
from casa_env.settings import Settings
from casa_env.shared_region import SharedRegion
from casa_env.triton import triton_address, triton_client
from casa_env.triton_errors import told

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["ServedModel", "TritonModel"]

T = TypeVar("T")

#: Bytes of features in one request: gRPC takes 2 GB, but servers and what stands before
#: them hold whole messages in memory, often several.
MAX_CALL_BYTES: Final = 2**26

#: How often a server that cannot be reached is asked again, and the first wait.
RETRIES: Final = 5
FIRST_WAIT_S: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """What a server says of one version of a model."""

    server: str
    """Triton's version."""

    n_features: int
    """Columns of its input."""

    digest: str
    """The SHA-256 of the model's file; empty where the server does not tell."""

    label: str
    """What the version is, in words; empty where the server does not tell."""

    gives_margin: bool
    """Whether the scores are log-odds; else they are probabilities."""

    input: str
    """The input's name."""

    output: str
    """The output's name."""


class TritonModel:
    """One version of a model on a server; may be used from several threads.

    Parameters
    ----------
    name, version
        The model and its version.
    settings
        Of this place: the URL, the authority, the token.
    """

    def __init__(self, name: str, version: int, settings: Settings) -> None:
        self.name = name
        self.version = version
        self.settings = settings
        self.address = triton_address(settings.triton_url)
        self._local = threading.local()

    def __str__(self) -> str:
        """Return the model and its version."""
        return f"model {self.name} version {self.version}"

    def described(self, deadline: float) -> ServedModel:
        """Ask the server what it has.

        Parameters
        ----------
        deadline
            When to give up, by `time.monotonic`.

        Raises
        ------
        InferenceError
            One of its kinds: see `casa_env.triton_errors`.
        """
        return self._patiently(self._describe, deadline)

    def scores(
        self,
        features: npt.NDArray[np.float32],
        served: ServedModel,
        deadline: float,
    ) -> npt.NDArray[np.float32]:
        """Let the server score some rows, as many requests as that takes.

        Parameters
        ----------
        features
            Shape (rows, features), float32, C order.
        served
            What the server said of the model.
        deadline
            When to give up, by `time.monotonic`; for all requests together.

        Returns
        -------
        numpy.ndarray
            As the server gives them; shape (rows,), float32.

        Raises
        ------
        InferenceError
            One of its kinds: see `casa_env.triton_errors`.
        """
        import numpy as np

        scores = np.empty(len(features), np.float32)
        rows = max(1, MAX_CALL_BYTES // max(1, features[:1].nbytes))
        for first in range(0, len(features), rows):
            part = features[first : first + rows]

            def call(time_s: float, part: Any = part) -> Any:  # noqa: ANN401 - numpy's
                return self._infer(part, served, time_s)

            scores[first : first + rows] = self._patiently(call, deadline)
        return scores

    def close(self) -> None:
        """Give back what this thread holds on the server."""
        region = getattr(self._local, "region", None)
        if region is not None:
            region.close()
        client = getattr(self._local, "client", None)
        if client is not None:
            client.close()
        self._local = threading.local()

    def _patiently(self, call: Callable[[float], T], deadline: float) -> T:
        """Call again where the server cannot be reached, in jittered milliseconds."""
        for attempt in range(RETRIES + 1):
            left = max(deadline - time.monotonic(), 1e-3)
            try:
                with told(self.address, self.settings, what=str(self), deadline_s=left):
                    return call(left)
            except InferenceError as err:
                # Errors come whole out of Dask workers; what gRPC raised cannot.
                err.__context__ = None
                if not isinstance(err, ServerLostError):
                    raise
                wait = FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
                if attempt == RETRIES or time.monotonic() + wait >= deadline:
                    raise
                time.sleep(wait)
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    def _client(self) -> Any:  # noqa: ANN401 - tritonclient is untyped
        """Return this thread's client: the one for HTTP belongs to its thread."""
        if not hasattr(self._local, "client"):
            self._local.client = triton_client(self.settings)
        return self._local.client

    def _options(self, time_s: float) -> dict[str, Any]:
        """Return the bound of one request; for HTTP, `told` keeps it."""
        return {"client_timeout": time_s} if self.address.protocol == "grpc" else {}

    def _describe(self, time_s: float) -> ServedModel:
        client, options = self._client(), self._options(time_s)
        grpc = self.address.protocol == "grpc"
        as_json = {"as_json": True} if grpc else {}
        version = str(self.version)
        about = client.get_model_metadata(self.name, version, **as_json, **options)
        config = client.get_model_config(self.name, version, **as_json, **options)
        config = config.get("config", config)
        told_us = {
            key: value.get("string_value", "")
            for key, value in config.get("parameters", {}).items()
        }
        server = client.get_server_metadata(**as_json, **options)
        shape = about["inputs"][0]["shape"]
        return ServedModel(
            server=server["version"],
            n_features=int(shape[-1]),
            digest=told_us.get(f"sha256_{version}", ""),
            label=told_us.get(f"label_{version}", ""),
            gives_margin=told_us.get("scores", "margin") == "margin",
            input=about["inputs"][0]["name"],
            output=about["outputs"][0]["name"],
        )

    def _infer(
        self, part: npt.NDArray[np.float32], served: ServedModel, time_s: float
    ) -> npt.NDArray[np.float32]:
        """Send one request."""
        if self.address.protocol == "grpc":
            from tritonclient.grpc import InferInput, InferRequestedOutput
        else:
            from tritonclient.http import InferInput, InferRequestedOutput

        from tritonclient.utils import InferenceServerException

        given = InferInput(served.input, list(part.shape), "FP32")
        wanted = InferRequestedOutput(served.output)
        region = self._region(part, time_s)
        if region is None:
            given.set_data_from_numpy(part)
        else:
            region.put(part, given, wanted)
        try:
            answer = self._client().infer(
                self.name,
                [given],
                model_version=str(self.version),
                outputs=[wanted],
                **self._options(time_s),
            )
        except InferenceServerException as err:
            if region is None or "shared memory" not in str(err.message()):
                raise
            region.close(refused=True)  # a server that started anew does not know it
            return self._infer(part, served, time_s)
        if region is not None:
            return region.taken(len(part))
        scores: npt.NDArray[np.float32] = answer.as_numpy(served.output).reshape(-1)
        return scores

    def _region(
        self, part: npt.NDArray[np.float32], time_s: float
    ) -> SharedRegion | None:
        """Return memory that the server sees too, where it is on this machine."""
        if not is_loopback(self.address.host) or self.address.encrypted:
            return None
        region: SharedRegion | None = getattr(self._local, "region", None)
        if region is None:
            region = self._local.region = SharedRegion()
        if region.offer(self._client(), part.nbytes, len(part), self._options(time_s)):
            return region
        return None
