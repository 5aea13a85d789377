"""How fast runtimes score jet assignments: one table, one thread.

``PYTHONPATH=notebooks:tests python -m benchmarks.scoring``
"""

from __future__ import annotations

from functools import partial

from benchmarks.measurement import medians, on_one_core

on_one_core()  # before the libraries are loaded

import numpy as np  # noqa: E402

from benchmarks.runtimes import runtimes  # noqa: E402
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
    print("ns/permutation/tree; largest difference of probabilities from in place")
    for rounds, depth in MODELS:
        booster = trained(features, rounds=rounds, depth=depth)
        others = runtimes(booster)
        for rows in ROWS:
            copies = -(-rows // len(features))
            ends = np.cumsum(np.tile(counts, copies))
            n = int(np.searchsorted(ends, rows, side="right"))
            x = np.tile(features, (copies, 1))[: ends[n - 1]]
            scored = {name: partial(other.score, x) for name, other in others.items()}
            times = medians(scored)
            expected = scored["in place"]()
            print(f"{rounds} trees, depth {depth}, {len(x):,} rows")
            for name, seconds in times.items():
                ns = 1e9 * seconds.core / len(x) / rounds
                row = f"  {name:10} {ns:8.2f}"
                given = scored[name]()
                if others[name].gives_margins:
                    given = probability(given)
                off = np.abs(np.ravel(given) - probability(expected)).max()
                print(row + f" {off:10.1e}", flush=True)


def probability(margin: np.ndarray) -> np.ndarray:
    """Return the probability of some log-odds."""
    return 1 / (1 + np.exp(-margin.astype(float)))


if __name__ == "__main__":
    main()
