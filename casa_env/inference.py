"""Score with a model: on the site's Triton server, or in process, the same model."""

from __future__ import annotations

import logging
import threading
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from casa_env.errors import (
    InferenceTimeoutError,
    ModelMismatchError,
    ModelShapeError,
    ServerLostError,
)
from casa_env.model_repository import ModelVersion
from casa_env.settings import Settings, load_settings
from casa_env.triton_model import ServedModel, TritonModel

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import xgboost

__all__ = ["IN_PROCESS", "Predictor", "predictor"]

log = logging.getLogger(__name__)

IN_PROCESS = "in process"


def predictor(
    name: str,
    model: ModelVersion,
    *,
    settings: Settings | None = None,
    threads: int = 1,
) -> Predictor:
    """Return what scores with a model, wherever this place does that.

    On a laptop and on Binder XGBoost scores in process. At a facility with a Triton
    server (``triton_url``) that does, if it serves the very same model; where it is
    lost, XGBoost in process goes on, unless ``triton_fallback`` is false.

    Parameters
    ----------
    name
        The model's name on the server.
    model
        The model itself: what scores in process, and what the server's is compared to.
    settings
        Settings to use; by default those of this place.
    threads
        Cores for scoring in process.

    Returns
    -------
    Predictor
        Nothing has been asked of a server yet.

    Raises
    ------
    SettingsError
        If the settings are wrong.
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

        Returns
        -------
        str
            Where rows will be scored.

        Raises
        ------
        InferenceError
            As `predict`.
        """
        deadline = time.monotonic() + self.settings.triton_timeout_s
        try:
            self._described(deadline)
        except (ServerLostError, InferenceTimeoutError) as err:
            self._fall_back(err)
        return self.place

    def predict(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Score some rows.

        Parameters
        ----------
        features
            Shape (rows, features); converted to float32 where it is something else.

        Returns
        -------
        numpy.ndarray
            Margins, which are log-odds; shape (rows,), float32. From Triton's Python
            back end they are the bits of XGBoost in process.

        Raises
        ------
        ModelShapeError
            If the features have another number of columns than the model.
        ModelMismatchError
            If the server has another model of this name and version.
        ServerLostError, InferenceTimeoutError
            If the server is lost, or does not answer within ``triton_timeout_s``, and
            ``triton_fallback`` is false.
        InferenceError
            Of another kind, if the server does not have the model, refuses us or has a
            certificate that is not accepted: for these there is no falling back.
        """
        import numpy as np

        rows = np.ascontiguousarray(features, dtype=np.float32)
        expected = self._booster.num_features()
        if rows.ndim != 2 or rows.shape[1] != expected:  # noqa: PLR2004 - rows, columns
            what = (
                f"These features have the shape {rows.shape}, not (rows, {expected})."
            )
            step = "Give the columns that the model was trained on."
            raise ModelShapeError(what, looked_at=self.name, next_step=step)
        deadline = time.monotonic() + self.settings.triton_timeout_s
        if self._remote is not None and not self.fallback:
            try:
                served = self._described(deadline)
                scores = self._remote.scores(rows, served, deadline)
            except (ServerLostError, InferenceTimeoutError) as err:
                self._fall_back(err)
            else:
                return scores if served.gives_margin else _margins(scores)
        return self._in_process(rows)

    def close(self) -> None:
        """Give back what this thread holds on the server."""
        if self._remote is not None:
            self._remote.close()

    @cached_property
    def _booster(self) -> xgboost.Booster:
        import xgboost

        booster = xgboost.Booster(model_file=bytearray(self.model.content))
        booster.set_param({"nthread": self.threads})
        return booster

    def _in_process(self, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        import numpy as np

        scores = self._booster.inplace_predict(rows, predict_type="margin")
        return np.asarray(scores, np.float32)

    def _described(self, deadline: float) -> ServedModel | Any:  # noqa: ANN401 - see below
        """Return what the server says of the model; compare it, once."""
        if self._remote is None:
            return None
        with self._lock:
            if self._served is None:
                served = self._remote.described(deadline)
                self._compare(served)
                self._served = served
                log.info("%s: scores on %s", self._remote, self.place)
            return self._served

    def _compare(self, served: ServedModel) -> None:
        """Raise unless the server has the model that we have."""
        step = "Publish this model to the server's repository, or use the server's."
        if served.n_features != self._booster.num_features():
            what = (
                f"The server's {self._remote} has {served.n_features} features, not "
                f"{self._booster.num_features()}."
            )
            raise ModelShapeError(what, looked_at=self.name, next_step=step)
        if served.digest != self.model.digest:
            said = f"{served.digest[:12]}..." if served.digest else "none"
            what = f"The server's {self._remote} is another one than ours."
            raise ModelMismatchError(
                what,
                looked_at=f"SHA-256 {said}, ours {self.model.digest[:12]}...",
                next_step=step,
            )

    def _fall_back(self, err: ServerLostError | InferenceTimeoutError) -> None:
        """Go on in process, where that is allowed; say so once."""
        if not self.settings.triton_fallback:
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
