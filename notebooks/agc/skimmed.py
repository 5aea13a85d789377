"""Process a fileset by way of the skim cache: one task for each file."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from coffea.processor import IterativeExecutor, accumulate

from agc.errors import AnalysisError, InputFileError
from agc.kernel import fill_sums
from agc.processor import OnBadFile, process_and_variation
from agc.skims import load_skim
from agc.variations import NOMINAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coffea.processor.executor import ExecutorBase, FileMeta

__all__ = ["Tallies", "tally_skims"]


class Tallies(NamedTuple):
    """What the files of a fileset add to the histograms."""

    files: dict[str, dict[str, Any]]
    """By dataset and file, as `agc.processor.TtbarProcessor` tallies."""
    bad_files: dict[str, str]
    """Files left out, with the reason."""
    process_time_s: float
    """Time inside the tasks, summed."""


def tally_skims(
    items: Sequence[FileMeta],
    executor: ExecutorBase,
    folder: Path,
    *,
    on_bad_file: OnBadFile = "raise",
) -> Tallies:
    """Tally the events of every file, from its skim if there is one, else making it.

    Parameters
    ----------
    items
        Dataset, file, tree and metadata of each file.
    executor
        Any coffea executor.
    folder
        The skim cache, as the tasks see it.
    on_bad_file
        ``"raise"``, or ``"skip"`` to go on without unusable files.

    Returns
    -------
    Tallies
        Event counts are those of the input files, bytes those read this time.

    Raises
    ------
    InputFileError
        A file cannot be used; raised after all were looked at.
    UnknownProcessError
        A dataset's process or variation is not the task's.
    AnalysisError
        A task was lost.
    """
    task = partial(_tally, folder=folder)
    nothing: dict[str, Any] = {"seconds": 0.0}
    if isinstance(executor, IterativeExecutor) and not executor.status:
        # coffea 2026.9 draws a progress bar all the same: longer than reading a skim
        found = accumulate(map(task, items), nothing)
    else:
        run = executor.copy(
            function_name="tally", desc="Processing", unit="file", compression=None
        )
        found, _ = run(list(items), task, nothing)
    files = found.get("files", {})
    errors: dict[tuple[str, str], InputFileError] = found.get("errors", {})
    bad_files: dict[str, str] = {}
    for item in items:
        key = item.dataset, item.filename
        if key in errors:
            if on_bad_file == "raise":
                raise errors[key]
            bad_files[item.filename] = errors[key].cause
        elif item.filename not in files.get(item.dataset, {}):
            msg = f"{item.filename}: a task was lost; run again"
            raise AnalysisError(msg)
    return Tallies(files, bad_files, found["seconds"])


def _tally(item: FileMeta, *, folder: Path) -> dict[str, Any]:
    """Return one file's tally, or the error that says why it is unusable."""
    begin = time.perf_counter()
    sample = process_and_variation(item.dataset, item.metadata)
    try:
        skim = load_skim(item.filename, item.treename, folder)
    except InputFileError as error:
        return {"errors": {(item.dataset, item.filename): error}}
    tally = {
        "sample": {sample},
        "events": skim.entries,
        "bytes": skim.bytes_read,
        "sums": fill_sums(skim.events, np.empty(0), sample[1] != NOMINAL),
        "errors": set(),
    }
    return {
        "files": {item.dataset: {item.filename: tally}},
        "seconds": time.perf_counter() - begin,
    }
