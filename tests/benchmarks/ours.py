"""What is measured of ours, and the reading that it is compared with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import uproot
from coffea.processor import IterativeExecutor
from coffea.util import coffea_console

from agc.fast.columns import BRANCHES, Events, load_columns, read_columns
from agc.fast.kernel import fill_sums
from agc.inputs.filesets import TREE
from agc.inputs.rootfiles import load_arrays
from agc.ttbar.ml.assignments import ASSIGNMENT_BRANCHES, read_assignment_columns
from agc.ttbar.ml.jet_assignment import AssignmentModels, FeatureSums, feature_sums
from agc.ttbar.runs import TtbarResult, run_ttbar
from benchmarks.inputs import EVENTS, Input
from support.notebook import ttbar_namespace

# coffea 2026.9 draws the executors' progress bar with status=False, too.
coffea_console.quiet = True


def read_only(file: Input) -> dict[str, tuple[Any, np.ndarray]]:
    """Read the analysis's branches with uproot; return offsets and flat values."""
    with uproot.open(file.path) as root_file:
        arrays = root_file[TREE].arrays(list(BRANCHES), how=dict)
    flat = {}
    for name, array in arrays.items():
        layout = array.layout
        if layout.is_list:
            flat[name] = layout.offsets.data, layout.content.data
        else:
            flat[name] = None, layout.data
    return flat


def run_ours(file: Input, *, skims: Path | None = None) -> TtbarResult:
    """Run the analysis as a user does, in one chunk on one core."""
    executor = IterativeExecutor(status=False)
    return run_ttbar(file.fileset, executor, chunksize=EVENTS, skims=skims)


def run_columnar(file: Input) -> TtbarResult:
    """Run the processor that the notebook shows, in one chunk on one core."""
    executor = IterativeExecutor(status=False)
    engine = ttbar_namespace()["processor"]
    return run_ttbar(file.fileset, executor, chunksize=EVENTS, engine=engine)


def columns_of(file: Input) -> Events:
    """Read the columns as the processor does."""
    return load_columns(file.path, TREE)[0]


def sums_of(columns: Events) -> np.ndarray:
    """Run the compiled pass over the columns."""
    return fill_sums(columns, np.empty(0), False)  # noqa: FBT003 - compiled


def run_with_assignment(file: Input, models: AssignmentModels) -> FeatureSums:
    """Do the same and assign the jets of the signal events."""
    arrays, _ = load_arrays(file.path, TREE, BRANCHES | ASSIGNMENT_BRANCHES)
    events = read_columns(arrays)
    sums_of(events)
    return feature_sums(events, read_assignment_columns(arrays, events), models)


def run_bare(file: Input) -> np.ndarray:
    """Run what the processor does with a chunk, without coffea around it."""
    return sums_of(columns_of(file))
