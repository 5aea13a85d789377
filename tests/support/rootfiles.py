"""ROOT files of a wanted size for tests of reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import uproot

BRANCHES = ("a", "b", "c", "d")


def write_tree(path: Path, *, n_bytes: int, seed: int = 1) -> None:
    """Write a tree ``Events`` of random numbers, in many baskets, uncompressed."""
    rng = np.random.default_rng(seed)
    entries = n_bytes // (8 * len(BRANCHES))
    step = max(1, entries // 50)
    with uproot.recreate(path, compression=None) as file:
        file.mktree("Events", dict.fromkeys(BRANCHES, np.float64))
        for begin in range(0, entries, step):
            n = min(step, entries - begin)
            file["Events"].extend({name: rng.random(n) for name in BRANCHES})
