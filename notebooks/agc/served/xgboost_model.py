"""What Triton's Python back end runs: an XGBoost model, scored as in process.

`agc.served.repository` copies this file beside each version of a model. It runs in
Triton's own Python, which needs numpy and xgboost there, and nothing of casa_env.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
import xgboost


class TritonPythonModel:
    """One version of a model, in one process of Triton's."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model that lies beside this file."""
        folder = Path(args["model_repository"], args["model_version"])
        parameters = json.loads(args["model_config"]).get("parameters", {})
        threads = int(parameters.get("threads", {}).get("string_value", "1"))
        self.booster = xgboost.Booster(model_file=str(folder / "model.ubj"))
        self.booster.set_param({"nthread": threads})

    def execute(self, requests: list[Any]) -> list[Any]:
        """Score some requests in one call of XGBoost."""
        inputs = [
            pb_utils.get_input_tensor_by_name(request, "features").as_numpy()
            for request in requests
        ]
        features = inputs[0] if len(inputs) == 1 else np.concatenate(inputs)
        scores = self.booster.inplace_predict(features, predict_type="margin")
        scores = np.asarray(scores, np.float32).reshape(-1, 1)
        responses, first = [], 0
        for one in inputs:
            part = pb_utils.Tensor("scores", scores[first : first + len(one)])
            responses.append(pb_utils.InferenceResponse([part]))
            first += len(one)
        return responses
