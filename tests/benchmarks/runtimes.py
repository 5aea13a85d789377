"""Other runtimes for a trained BDT, to compare scoring with: each on one thread.

Those that are not in the environment are measured where somebody installed them:
``pip install treelite tl2cgen onnxmltools onnx`` (tl2cgen needs a C compiler).
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xgboost

from agc.ttbar.features import FEATURES

Array = npt.NDArray[np.float32]
Score = Callable[[Array], Array]


class Runtime(NamedTuple):
    """One way to score."""

    score: Score
    """Takes rows of features."""
    gives_margins: bool = True
    """Log-odds; else probabilities."""


def runtimes(booster: xgboost.Booster) -> dict[str, Runtime]:
    """Return what can score a model here, by the name in the table."""
    found = {
        "in place": Runtime(
            lambda x: booster.inplace_predict(x, predict_type="margin")
        ),
        "DMatrix": Runtime(
            lambda x: booster.predict(xgboost.DMatrix(x, nthread=1), output_margin=True)
        ),
    }
    if find_spec("treelite") and find_spec("tl2cgen"):
        found["tl2cgen"] = Runtime(_tl2cgen(booster))
    if find_spec("onnxmltools"):
        found["onnx"] = Runtime(_onnx(booster), gives_margins=False)
    return found


def _tl2cgen(booster: xgboost.Booster) -> Score:
    """Compile the trees to C; treelite's own interpreter is several times slower."""
    import tl2cgen
    import treelite

    library = Path(tempfile.mkdtemp()) / "model.so"
    tl2cgen.export_lib(
        treelite.frontend.from_xgboost(booster),
        toolchain="gcc",
        libpath=library,
        params={"parallel_comp": 4},
    )
    model = tl2cgen.Predictor(library, nthread=1)
    return lambda x: model.predict(tl2cgen.DMatrix(x), pred_margin=True)


def _onnx(booster: xgboost.Booster) -> Score:
    """Convert the trees to ONNX, for onnxruntime: it gives probabilities."""
    import onnxmltools
    import onnxruntime
    from onnxmltools.convert.common.data_types import FloatTensorType

    unnamed = xgboost.Booster(model_file=booster.save_raw("ubj"))
    unnamed.feature_names = None  # the converter takes only names such as f0
    model = onnxmltools.convert_xgboost(
        unnamed, initial_types=[("x", FloatTensorType([None, len(FEATURES)]))]
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    probabilities = session.get_outputs()[1].name
    return lambda x: session.run([probabilities], {"x": x})[0][:, 1]
