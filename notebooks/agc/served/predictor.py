"""Score with a model: on the site's Triton server, or in process, the same model."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from agc.served.failures import InferenceError, explained
from agc.served.repository import ModelVersion
from casa_env.models.triton import triton_address, triton_client
from casa_env.settings import Settings, load_settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import xgboost

__all__ = ["IN_PROCESS", "Predictor", "predictor"]

log = logging.getLogger(__name__)

T = TypeVar("T")

IN_PROCESS: Final = "in process"

#: Bytes of features in one request: gRPC takes 2 GB, but servers and what stands before
#: them hold whole messages in memory, often several.
MAX_CALL_BYTES: Final = 2**26

#: How often a server that cannot be reached is asked again, and the first wait.
RETRIES: Final = 5
FIRST_WAIT_S: Final = 0.02


def predictor(
    name: str,
    model: ModelVersion,
    *,
    settings: Settings | None = None,
    threads: int = 1,
) -> Predictor:
    """Return what scores with a model, wherever this place does that.

    On a laptop and on Binder XGBoost scores in process, on so many cores. At a facility
    with a Triton server (``triton_url``) that does, if it serves the very same model by
    this name; where it is lost, XGBoost in process goes on, unless ``triton_fallback``
    is false. This call asks nothing of a server. Wrong settings are a `SettingsError`.
    """
    return Predictor(name, model, settings or load_settings(), threads=threads)


class Predictor:
    """Scores rows of features; see `predictor`. May be used from several threads."""

    def __init__(
        self, name: str, model: ModelVersion, settings: Settings, *, threads: int = 1
    ) -> None:
        self.name = name
        self.model = model
        self.settings = settings
        self.threads = threads
        self.fallback = ""
        """Why the server was given up; empty while it was not."""
        self._remote: TritonModel | None = None
        if settings.triton_url:
            self._remote = TritonModel(name, model.number, settings)
        self._served: ServedModel | None = None
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        """Where the next rows are scored: a server's version, or ``in process``."""
        if self._remote is None or self.fallback:
            return IN_PROCESS
        return f"Triton {self._served.server}" if self._served else "Triton"

    def check(self) -> str:
        """Ask the server for the model, before anything depends on it.

        Return where rows will be scored; raise as `predict`.
        """
        deadline = time.monotonic() + self.settings.triton_timeout_s
        if self._remote is not None:
            try:
                self._described(self._remote, deadline)
            except InferenceError as err:
                self._fall_back(err)
        return self.place

    def predict(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the margins, which are log-odds, of some rows; shape (rows,), float32.

        Features of the shape (rows, features) are converted to float32 where they are
        something else. From Triton's Python back end the margins are the bits of
        XGBoost in process.

        Raises
        ------
        InferenceError
            Of the kind ``shape`` if the features have another number of columns than
            the model, and ``mismatch`` if the server has another model of this name and
            version. ``lost`` and ``timeout`` (after ``triton_timeout_s``) if
            ``triton_fallback`` is false. ``unknown``, ``refused`` and ``certificate``
            always: to score with another model in silence is no falling back.
        """
        import numpy as np

        rows = np.ascontiguousarray(features, dtype=np.float32)
        expected = self._booster.num_features()
        if rows.ndim != 2 or rows.shape[1] != expected:  # noqa: PLR2004 - rows, columns
            what = (
                f"These features have the shape {rows.shape}, not (rows, {expected})."
            )
            step = "Give the columns that the model was trained on."
            raise InferenceError(
                what, looked_at=self.name, next_step=step, kind="shape"
            )
        deadline = time.monotonic() + self.settings.triton_timeout_s
        if self._remote is not None and not self.fallback:
            try:
                served = self._described(self._remote, deadline)
                scores = self._remote.scores(rows, served, deadline)
            except InferenceError as err:
                self._fall_back(err)
            else:
                return scores if served.gives_margin else _margins(scores)
        scores = self._booster.inplace_predict(rows, predict_type="margin")
        return np.asarray(scores, np.float32)

    def close(self) -> None:
        """Close this thread's connection to the server."""
        if self._remote is not None:
            self._remote.close()

    @cached_property
    def _booster(self) -> xgboost.Booster:
        import xgboost

        booster = xgboost.Booster(model_file=bytearray(self.model.content))
        booster.set_param({"nthread": self.threads})
        return booster

    def _described(self, remote: TritonModel, deadline: float) -> ServedModel:
        """Return what the server has of the model; compare it with ours, once."""
        with self._lock:
            if self._served is None:
                served = remote.described(deadline)
                self._compare(served)
                self._served = served
                log.info("%s: scores on %s", remote, self.place)
            return self._served

    def _compare(self, served: ServedModel) -> None:
        """Raise unless the server has the model that we have."""
        kind, where = "", self.name
        if served.n_features != self._booster.num_features():
            kind = "shape"
            what = (
                f"The server's {self._remote} has {served.n_features} features, not "
                f"{self._booster.num_features()}."
            )
        elif served.digest != self.model.digest:
            kind = "mismatch"
            what = f"The server's {self._remote} is another one than ours."
            theirs = f"{served.digest[:12]}..." if served.digest else "none"
            where = f"SHA-256 {theirs}, ours {self.model.digest[:12]}..."
        if kind:
            step = "Publish this model to the server's repository, or use the server's."
            raise InferenceError(what, looked_at=where, next_step=step, kind=kind)

    def _fall_back(self, err: InferenceError) -> None:
        """Go on in process, where that is allowed; say so once."""
        if err.kind not in ("lost", "timeout") or not self.settings.triton_fallback:
            raise err
        with self._lock:
            if not self.fallback:
                self.fallback = f"{err.what} ({err.looked_at})"
                log.warning(
                    "%s: %s Scoring goes on in process.", self._remote, err.what
                )


def _margins(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return log-odds; probabilities that were rounded to 0 or 1 become infinite."""
    import numpy as np

    p = probabilities.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p), np.float32)


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """What a server says of one version of a model."""

    server: str  # Triton's version
    n_features: int
    digest: str  # SHA-256 of the model's file; empty where the server does not tell
    gives_margin: bool  # or probabilities
    input: str
    output: str


class TritonModel:
    """One version of a model on a server; may be used from several threads."""

    def __init__(self, name: str, version: int, settings: Settings) -> None:
        self.name = name
        self.version = str(version)
        self.settings = settings
        self.address = triton_address(settings.triton_url)
        self._local = threading.local()

    def __str__(self) -> str:
        """Return the model and its version."""
        return f"model {self.name} version {self.version}"

    def described(self, deadline: float) -> ServedModel:
        """Ask the server what it has, until a time of `time.monotonic`."""
        return self._patiently(self._describe, deadline)

    def scores(
        self,
        features: npt.NDArray[np.float32],
        served: ServedModel,
        deadline: float,
    ) -> npt.NDArray[np.float32]:
        """Let the server score rows (float32, C order), in as many requests as needed.

        The deadline, by `time.monotonic`, is for all requests together.
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
        """Close this thread's client."""
        if hasattr(self._local, "client"):
            self._local.client.close()
        self._local = threading.local()

    def _patiently(self, call: Callable[[float], T], deadline: float) -> T:
        """Call again where the server cannot be reached, in jittered milliseconds."""
        for attempt in range(RETRIES + 1):
            left = max(deadline - time.monotonic(), 1e-3)
            try:
                with explained(
                    self.address, self.settings, what=str(self), deadline_s=left
                ):
                    return call(left)
            except InferenceError as err:
                # Errors come whole out of Dask workers; what gRPC raised cannot.
                err.__context__ = None
                wait = FIRST_WAIT_S * 2**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
                late = attempt == RETRIES or time.monotonic() + wait >= deadline
                if err.kind != "lost" or late:
                    raise
                time.sleep(wait)
        raise AssertionError  # pragma: no cover - the last attempt returns or raises

    def _client(self) -> Any:  # noqa: ANN401 - tritonclient is untyped
        """Return this thread's client: the one for HTTP belongs to its thread."""
        if not hasattr(self._local, "client"):
            self._local.client = triton_client(self.settings)
        return self._local.client

    def _options(self, time_s: float) -> dict[str, Any]:
        """Return the bound of one request; for HTTP, `explained` keeps it."""
        return {"client_timeout": time_s} if self.address.protocol == "grpc" else {}

    def _describe(self, time_s: float) -> ServedModel:
        client, options = self._client(), self._options(time_s)
        if self.address.protocol == "grpc":
            options["as_json"] = True
        about = client.get_model_metadata(self.name, self.version, **options)
        config = client.get_model_config(self.name, self.version, **options)
        parameters = {
            key: value.get("string_value", "")
            for key, value in config.get("config", config).get("parameters", {}).items()
        }
        return ServedModel(
            server=client.get_server_metadata(**options)["version"],
            n_features=int(about["inputs"][0]["shape"][-1]),
            digest=parameters.get(f"sha256_{self.version}", ""),
            gives_margin=parameters.get("scores", "margin") == "margin",
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
        given = InferInput(served.input, list(part.shape), "FP32")
        given.set_data_from_numpy(part)
        answer = self._client().infer(
            self.name,
            [given],
            model_version=self.version,
            outputs=[InferRequestedOutput(served.output)],
            **self._options(time_s),
        )
        scores: npt.NDArray[np.float32] = answer.as_numpy(served.output).reshape(-1)
        return scores
