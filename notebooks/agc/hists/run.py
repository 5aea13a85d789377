"""Run a processor over a fileset with any coffea executor, and normalise."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from coffea.processor import accumulate

from agc.errors import (
    AnalysisError,
    InputFileError,
    UnknownProcessError,
)
from agc.hists.fill import normalised
from agc.hists.tasks import Processor, Tallying, for_all_files, task_of
from agc.inputs.filesets import event_weight, in_halves, require_entries
from agc.inputs.metrics import Metrics
from agc.inputs.pieces import Piece, pieces_of, run_tasks

if TYPE_CHECKING:
    import hist
    from coffea.processor.executor import ExecutorBase

    from agc.inputs.config import Config

__all__ = [
    "CHUNK_SIZE",
    "OnBadFile",
    "Result",
    "collected",
    "files_of",
    "run_analysis",
]

#: Events that one task processes: about 20 MB of columns.
CHUNK_SIZE = 200_000
#: The name of the tree of a file that a fileset only lists.
TREE = "Events"

#: What to do with a file that cannot be used: stop, or go on without it.
OnBadFile: TypeAlias = Literal["raise", "skip"]
#: Dataset name to ``files`` and ``metadata``, as coffea takes it.
AnyFileset: TypeAlias = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Result:
    """Histograms of a run and what is to be known about how they came about."""

    histograms: dict[str, hist.Hist[Any]]
    """By variable, normalised to the luminosity; axes ``observable``, ``process`` and
    ``variation``."""
    counts: dict[str, hist.Hist[Any]]
    """The same before cross-sections: in events."""
    metrics: Metrics
    bad_files: dict[str, str] = field(default_factory=dict)
    """Files left out, with the reason; empty unless ``on_bad_file="skip"``."""
    cutflow: dict[str, dict[str, float]] = field(default_factory=dict)
    """By dataset: events that passed each cut, before cross-sections."""
    sums: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By dataset: what else the tasks counted, added up."""
    weights: dict[str, float] = field(default_factory=dict)
    """What an event of a dataset counts: cross-section x luminosity / events."""


def run_analysis(
    fileset: AnyFileset,
    processor: Processor | Tallying,
    executor: ExecutorBase,
    *,
    chunksize: int = CHUNK_SIZE,
    on_bad_file: OnBadFile = "raise",
    cores: int = 1,
) -> Result:
    """Run a processor from files to normalised histograms.

    The result does not depend on the executor, which may be any of coffea's, nor on the
    chunk size, which is the events for one task.

    Parameters
    ----------
    fileset
        As coffea takes it. The metadata name ``process``, ``xsec_pb`` and, if it is not
        nominal, ``variation``; ``nevts`` (or ``sumw``) are the generated events of each
        file, and ``entries`` the events in it. Without these, all events were generated
        that are in the files.
    processor
        Any coffea processor with a ``config``, or an engine.
    on_bad_file
        ``"raise"``, or ``"skip"`` to go on without unusable files: their event counts
        leave the normalisation too.
    cores
        Cores that the executor uses, for the metrics.

    Raises
    ------
    InputFileError
        A file cannot be used; names the file and the reason. Raised once the first
        piece of every file was processed if that shows it, else after all were.
    UnknownProcessError
        A dataset's process or variation is not one of the configuration's.
    AnalysisError
        No file is left, or workers died of a piece, or it was lost.
    """
    begin = time.perf_counter()
    config = processor.config
    given, fileset = fileset, in_halves(fileset, processor.config.data)
    whole = [
        Piece(
            name,
            _sample(name, dataset["metadata"], config),
            file,
            tree,
            half=dataset["metadata"].get("half"),
        )
        for name, dataset in fileset.items()
        for file, tree in files_of(dataset).items()
    ]
    task = task_of(processor, fileset)
    if on_bad_file == "raise":
        task = partial(for_all_files, task=task)
    if getattr(processor, "whole_files", False):
        found, pieces = _run(task, whole, executor), whole
    else:
        found, pieces = _tallied(whole, task, executor, chunksize, on_bad_file)
    _require_all(pieces, found["files"])
    _compare_with_catalog(fileset, found["files"], config.data)
    if on_bad_file == "raise":
        _raise_first(whole, found["files"])
    bad_files = {
        file: "; ".join(sorted({error.cause for error in tally["errors"]}))
        for _, files in sorted(found["files"].items())
        for file, tally in sorted(files.items())
        if tally["errors"]
    }
    sums, output = {}, {}
    for dataset, by_file in sorted(found["sums"].items()):
        good = [one for file, one in sorted(by_file.items()) if file not in bad_files]
        if good:
            sums[dataset] = accumulate(good)
            files = found["files"][dataset].items()
            events = sum(one["events"] for file, one in files if file not in bad_files)
            output[dataset] = {**sums[dataset]["output"], "events": events}
    if not output:
        msg = f"none of the {len(bad_files)} input files can be used: {bad_files}"
        raise AnalysisError(msg)
    tallies = [tally for files in found["files"].values() for tally in files.values()]
    metrics = Metrics(
        events=sum(one["events"] for name, one in output.items() if name in given),
        bytes_read=sum(tally["bytes"] for tally in tallies),
        wall_time_s=time.perf_counter() - begin,
        process_time_s=found["seconds"],
        cores=cores,
        chunks=len(pieces),
    )
    return collected(
        output,
        fileset,
        config,
        metrics=metrics,
        bad_files=bad_files,
        sums=sums,
    )


def collected(
    output: Mapping[str, Mapping[str, Any]],
    fileset: AnyFileset,
    config: Config,
    *,
    metrics: Metrics | None = None,
    bad_files: dict[str, str] | None = None,
    sums: dict[str, dict[str, Any]] | None = None,
) -> Result:
    """Normalise what a processor returned by dataset: coffea's ``Runner``'s output too.

    Raises
    ------
    UnknownProcessError
        A dataset has no cross-section.
    """
    bad = bad_files or {}
    datasets = {name: one["histograms"] for name, one in output.items()}
    samples = {
        name: _sample(name, fileset[name]["metadata"], config) for name in datasets
    }
    weights = {
        name: event_weight(
            name,
            fileset[name],
            lumi_pb=config.lumi_pb,
            data=config.data,
            processed=one.get("events", 0),
            without=bad,
        )
        for name, one in output.items()
    }
    return Result(
        normalised(datasets, weights, samples, config),
        normalised(datasets, dict.fromkeys(datasets, 1.0), samples, config),
        metrics or Metrics(0, 0, 0.0, 0.0, 1, 0),
        bad,
        {name: dict(one.get("cutflow", {})) for name, one in output.items()},
        sums or {},
        weights,
    )


def files_of(dataset: Mapping[str, Any]) -> dict[str, str]:
    """Return the files of a dataset and the tree in each, however they are listed."""
    files = dataset["files"]
    tree = dataset.get("treename", TREE)
    return dict(files) if isinstance(files, Mapping) else dict.fromkeys(files, tree)


def _sample(name: str, metadata: Mapping[str, Any], config: Config) -> tuple[str, str]:
    """Return process and variation of a dataset, if the configuration knows them."""
    try:
        process, variation = metadata["process"], metadata.get("variation", "nominal")
        config.variations_of(process, variation)
    except KeyError as error:
        msg = f"dataset {name!r} has no {error.args[0]!r} in its metadata"
        raise UnknownProcessError(msg) from error
    except UnknownProcessError as error:
        msg = f"dataset {name!r}: {error}"
        raise UnknownProcessError(msg) from error
    return process, variation


def _tallied(
    whole: Sequence[Piece],
    task: Any,  # noqa: ANN401 - a function of a piece and a chunk size
    executor: ExecutorBase,
    chunksize: int,
    on_bad_file: OnBadFile,
) -> tuple[dict[str, Any], list[Piece]]:
    """Tally each file's first piece, which tells how many there are, and the rest.

    A task goes on where a file cannot be used: an exception would reach us from
    another process as text only, and of one file after the other.
    """
    found = _run(task, whole, executor, chunksize)
    if on_bad_file == "raise":
        _raise_first(whole, found["files"])
    pieces: list[Piece] = []
    others: list[Piece] = []
    for file in whole:
        entries = found.get("entries", {}).get((file.dataset, file.file))
        if entries is not None:
            first, *rest = pieces_of(file, entries, chunksize)
            pieces += [first, *rest]
            others += rest
    if others:
        found = accumulate([found, _run(task, others, executor)])
    return found, pieces


def _run(
    task: Any,  # noqa: ANN401 - a function of a piece and a chunk size
    pieces: Sequence[Piece],
    executor: ExecutorBase,
    chunksize: int | None = None,
) -> dict[str, Any]:
    """Run the task on pieces; those that are whole files are cut by a chunk size."""
    one = partial(task, chunksize=chunksize)
    return run_tasks(one, pieces, executor, description="Processing")


def _raise_first(
    whole: Sequence[Piece], files: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> None:
    """Raise the first file's error, if there is one."""
    for piece in whole:
        tally = files.get(piece.dataset, {}).get(piece.file)
        for error in tally["errors"] if tally else ():
            error.can_be_skipped = True
            raise error


def _compare_with_catalog(
    fileset: AnyFileset, files: Mapping[str, Mapping[str, dict[str, Any]]], data: str
) -> None:
    """Put an error beside the tally of a file that has not all of its events."""
    for dataset, tallies in files.items():
        for file, tally in tallies.items():
            if tally["errors"]:
                continue
            try:
                require_entries(fileset[dataset], file, tally["events"], data=data)
            except InputFileError as error:
                tally["errors"].add(error)


def _require_all(
    pieces: Sequence[Piece], files: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> None:
    """Raise if a piece was not processed."""
    expected: Counter[tuple[str, str]] = Counter()
    for piece in pieces:
        expected[piece.dataset, piece.file] += (piece.stop or 0) - (piece.start or 0)
    for (dataset, file), events in expected.items():
        tally = files.get(dataset, {}).get(file)
        if tally is None or tally["events"] < events:
            done = 0 if tally is None else tally["events"]
            msg = (
                f"{file}: {done} of {events} events were processed: a task was lost; "
                "run again"
            )
            raise AnalysisError(msg)
