"""Scores per second on a Triton server and in process: one table, one thread each.

``PYTHONPATH=notebooks:tests python -m benchmarks.inference``
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measurement import CORES, SINGLE_THREAD, on_one_core

on_one_core()  # before the libraries are loaded

import numpy as np  # noqa: E402

from agc.served.predictor import predictor  # noqa: E402
from agc.served.repository import (  # noqa: E402
    ModelVersion,
    write_model_repository,
)
from agc.ttbar.features import FEATURES  # noqa: E402
from agc.ttbar.ml.model_store import MODEL_NAME, model_versions, shipped_models  # noqa: E402
from benchmarks.verdicts import verdict  # noqa: E402
from casa_env.settings import load_settings  # noqa: E402
from support.assignment import (  # noqa: E402
    all_features,
    chunk_of,
    standin_arrays,
    trained,
)
from support.triton import triton  # noqa: E402

TARGET = 0.75
ROWS = (10_000, 1_000_000)
#: Rounds of each size: a short call needs more for a steady median.
REPEATS = {10_000: 41, 1_000_000: 5}


def main() -> None:
    """Print rows per second; both sides take turns, so that noise hits both."""
    _, features = all_features(chunk_of(standin_arrays()))
    small, _ = model_versions(shipped_models())
    booster = trained(features, rounds=200, depth=5)
    large = ModelVersion(
        number=1, label="200 trees", content=bytes(booster.save_raw("ubj"))
    )
    models = {"shipped": (MODEL_NAME, small), "200 trees, depth 5": ("large", large)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for model, version in models.values():
            write_model_repository(
                folder / "models", model, [version], n_features=len(FEATURES)
            )
        # The server computes on the core that this process does not.
        pinned = {**SINGLE_THREAD, "OMP_PROC_BIND": "false"}
        with triton(
            folder / "models", folder / "server", environ=pinned, core=CORES[0]
        ) as server:
            print(
                f"Rows per second on one thread each; {len(CORES)} cores here.\n"
                "model                   rows   in process         gRPC         HTTP"
            )
            for label, (model, version) in models.items():
                for rows in ROWS:
                    x = np.resize(features, (rows, len(FEATURES)))
                    _compare(label, model, version, x, (server.grpc, server.http))


def _compare(
    label: str, model: str, version: ModelVersion, x: np.ndarray, urls: tuple[str, str]
) -> None:
    places = {"in process": load_settings({})}
    for url in urls:
        settings = load_settings({}, triton_url=url, triton_fallback=False)
        places[url.partition(":")[0]] = settings
    scorers = {
        place: predictor(model, version, settings=settings)
        for place, settings in places.items()
    }
    expected = scorers["in process"].predict(x)
    for scorer in scorers.values():
        assert np.array_equal(scorer.predict(x), expected)
    seconds: dict[str, list[float]] = {place: [] for place in scorers}
    for _ in range(REPEATS[len(x)]):
        for place, scorer in scorers.items():
            seconds[place].append(_wall(lambda scorer=scorer: scorer.predict(x)))
    speed = {p: len(x) / statistics.median(times) for p, times in seconds.items()}
    ratios = [speed[p] / speed["in process"] for p in ("grpc", "http")]
    print(
        f"{label:19} {len(x):9,d} {speed['in process']:12,.0f} {speed['grpc']:12,.0f} "
        f"{speed['http']:12,.0f}   "
        + ", ".join(f"{ratio:.2f} {verdict(ratio, TARGET)}" for ratio in ratios),
        flush=True,
    )
    for scorer in scorers.values():
        scorer.close()


def _wall(action: Callable[[], object]) -> float:
    """Return the seconds on the clock: the server's work is not on our core."""
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
