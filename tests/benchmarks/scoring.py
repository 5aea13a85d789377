"""How fast runtimes score jet assignments: one table, one thread.

``PYTHONPATH=notebooks:tests python -m benchmarks.scoring``
"""

from __future__ import annotations

from functools import partial

from benchmarks.measurement import medians, on_one_core

on_one_core()  # before the libraries are loaded

import numpy as np  # noqa: E402
import xgboost  # noqa: E402

from agc.forests import forest_of, score_events  # noqa: E402
from agc.permutations import FIRST_PERMUTATION  # noqa: E402
from support.assignment import (  # noqa: E402
    all_features,
    chunk_of,
    standin_arrays,
    trained,
)

MODELS = ((100, 5), (200, 6), (200, 8))
ROWS = (10_000, 1_000_000)


def main() -> None:
    """Print nanoseconds for one permutation and tree."""
    signal, features = all_features(chunk_of(standin_arrays()))
    counts = np.diff(signal.offsets)
    print("ns/permutation/tree         rows   masks   in place   DMatrix   masks [MB]")
    for rounds, depth in MODELS:
        booster = trained(features, rounds=rounds, depth=depth)
        forest = forest_of(booster)
        for rows in ROWS:
            copies = -(-rows // len(features))
            n_jets = np.tile(signal.n_jets, copies)
            ends = np.cumsum(np.tile(counts, copies))
            n = int(np.searchsorted(ends, rows, side="right"))
            n_jets, ends = n_jets[:n], ends[:n]
            x = np.tile(features, (copies, 1))[: ends[-1]]
            first = ends - np.diff(FIRST_PERMUTATION)[n_jets]
            scores = np.empty(len(x), np.float32)
            times = medians(
                {
                    "masks": partial(score_events, forest, n_jets, first, x, scores),
                    "in place": partial(
                        booster.inplace_predict, x, predict_type="margin"
                    ),
                    "DMatrix": lambda booster=booster, x=x: booster.predict(
                        xgboost.DMatrix(x, nthread=1), output_margin=True
                    ),
                }
            )
            expected = booster.inplace_predict(x, predict_type="margin")
            assert np.array_equal(scores, expected)
            ns = {name: 1e9 * t.core / len(x) / rounds for name, t in times.items()}
            print(
                f"{rounds:4d} trees, depth {depth:2d} {len(x):13,d} "
                f"{ns['masks']:7.2f} {ns['in place']:10.2f} {ns['DMatrix']:9.2f} "
                f"{forest.masks.nbytes / 1e6:12.1f}"
            )


if __name__ == "__main__":
    main()
