"""Where our time goes: the steps of a run, and the functions that take longest."""

from __future__ import annotations

import cProfile
import pstats
from functools import partial

import uproot
from coffea.nanoevents import BaseSchema, NanoEventsFactory

from agc.fast.columns import BRANCHES
from agc.inputs.filesets import TREE
from benchmarks.enlarged import COLLECTIONS
from benchmarks.inputs import EVENTS, Input
from benchmarks.measurement import medians
from benchmarks.ours import columns_of, read_only, run_bare, run_ours, sums_of

#: Functions that the profile lists.
LISTED = 25


def print_breakdown(file: Input) -> None:
    """Print the steps' times, and a profile of one run."""
    columns = columns_of(file)
    steps = {
        "open the file and the tree": partial(_open, file),
        "fetch and decompress the baskets": partial(_baskets, file),
        "reading only": partial(read_only, file),
        "load_columns": partial(columns_of, file),
        "fill_sums (compiled)": partial(sums_of, columns),
        "load_columns + fill_sums": partial(run_bare, file),
        "build a NanoEvents array (BaseSchema)": partial(_nanoevents, file),
        "run_ttbar": partial(run_ours, file),
    }
    times = medians(steps)
    print(f"{file.label}, milliseconds on the core; some are parts of others:")
    for name, (seconds, _) in times.items():
        share = seconds / times["run_ttbar"].core
        rate = EVENTS / seconds / 1e6
        print(f"  {name:40} {seconds * 1e3:8.1f} {share:6.0%} {rate:8.2f} MHz")
    rest = times["run_ttbar"].core - times["load_columns + fill_sums"].core
    print(f"  {'... so coffea and our Runner take':40} {rest * 1e3:8.1f}\n")
    profile = cProfile.Profile()
    profile.runcall(run_ours, file)
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(LISTED)


def _open(file: Input) -> int:
    with uproot.open(file.path) as root_file:
        return root_file[TREE].num_entries


def _baskets(file: Input) -> None:
    """Decompress every basket that the analysis needs, and do not interpret it."""
    with uproot.open(file.path) as root_file:
        tree = root_file[TREE]
        for name in (*BRANCHES, *(f"n{collection}" for collection in COLLECTIONS)):
            branch = tree[name]
            for i in range(branch.num_baskets):
                branch.basket(i)


def _nanoevents(file: Input) -> object:
    with uproot.open(file.path) as root_file:
        return NanoEventsFactory.from_root(
            root_file, treepath=TREE, schemaclass=BaseSchema, mode="virtual"
        ).events()
