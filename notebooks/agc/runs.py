"""Run the ttbar analysis over a fileset, with any coffea executor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coffea.nanoevents import BaseSchema
from coffea.processor import Runner
from coffea.processor.executor import FileMeta

from agc.errors import AnalysisError, InputFileError, UnreadableFileError
from agc.histograms import REGIONS
from agc.metrics import Metrics
from agc.processor import OnBadFile, TtbarProcessor, process_and_variation
from agc.rootfiles import entries_and_uuid
from agc.samples import LUMI_PB
from agc.skimmed import tally_skims
from agc.variations import variations_of

if TYPE_CHECKING:
    import hist
    from coffea.processor.executor import ExecutorBase

    from agc.filesets import Fileset

__all__ = ["CHUNK_SIZE", "Metrics", "TtbarResult", "normalised", "run_ttbar"]

#: Events that one task processes: about 20 MB of columns.
CHUNK_SIZE = 200_000


@dataclass(frozen=True)
class TtbarResult:
    """Histograms of a run and what is to be known about how they came about."""

    histograms: dict[str, hist.Hist[Any]]
    """By region, normalised to the luminosity; axes as `agc.histograms`."""
    counts: dict[str, hist.Hist[Any]]
    """The same before cross-sections: in events."""
    metrics: Metrics
    bad_files: dict[str, str] = field(default_factory=dict)
    """Files left out, with the reason; empty unless ``on_bad_file="skip"``."""


def normalised(
    counts: Mapping[str, hist.Hist[Any]],
    nevts: Mapping[str, int],
    *,
    lumi_pb: float = LUMI_PB,
) -> dict[str, hist.Hist[Any]]:
    """Scale event counts to what a luminosity is expected to give.

    Parameters
    ----------
    counts
        By region, in events, as `TtbarProcessor` gives them; not changed.
    nevts
        Generated events of each dataset, over the files that were used.
    lumi_pb
        Integrated luminosity in 1/pb.

    Returns
    -------
    dict of str to hist.Hist
        Every cell of a dataset multiplied by cross-section x luminosity / events.
    """
    from agc.samples import sample_named

    scaled = {region.name: counts[region.name].copy() for region in REGIONS}
    for dataset, generated in nevts.items():
        if generated == 0:
            continue
        sample = sample_named(dataset)
        weight = sample.xsec_pb * lumi_pb / generated
        for histogram in scaled.values():
            view: Any = histogram.view(flow=True)
            process = histogram.axes["process"].index(sample.process)
            for label in variations_of(sample.process, sample.variation):
                variation = histogram.axes["variation"].index(label)
                view["value"][:, process, variation] *= weight
                view["variance"][:, process, variation] *= weight**2
    return scaled


def run_ttbar(
    fileset: Fileset,
    executor: ExecutorBase,
    *,
    chunksize: int = CHUNK_SIZE,
    on_bad_file: OnBadFile = "raise",
    lumi_pb: float = LUMI_PB,
    cores: int = 1,
    skims: Path | None = None,
) -> TtbarResult:
    """Run the analysis from files to normalised histograms.

    Parameters
    ----------
    fileset
        As `agc.filesets` makes it: files with their tree, metadata, event counts.
    executor
        Any coffea executor; the result does not depend on it.
    chunksize
        Events for one task; the result does not depend on it.
    on_bad_file
        ``"raise"``, or ``"skip"`` to go on without unusable files: their event counts
        leave the normalisation too.
    lumi_pb
        Integrated luminosity in 1/pb to normalise to.
    cores
        Cores that the executor uses, for the metrics.
    skims
        Folder of a skim cache, for example `agc.skims.skim_folder()`: a file that is
        read is kept there as the events that could be selected, and running again
        reads only those. The result is the same. Tasks are then whole files. None:
        every event is read, and nothing is kept.

    Returns
    -------
    TtbarResult
        Histograms, metrics, and the files left out.

    Raises
    ------
    InputFileError
        A file cannot be used; names the file and the reason. Raised before any event
        is processed where opening the file shows it, else after all were.
    UnknownProcessError
        A dataset's process or variation is not the task's.
    AnalysisError
        No file is left, or a chunk was lost.
    """
    begin = time.perf_counter()
    for name, dataset in fileset.items():
        process_and_variation(name, dataset["metadata"])
    if skims is None:
        output, raw, bad_files = _process(fileset, executor, chunksize, on_bad_file)
    else:
        items = _items(fileset)
        tallies = tally_skims(items, executor, skims, on_bad_file=on_bad_file)
        output = TtbarProcessor().postprocess({"files": tallies.files})
        raw = {"processtime": tallies.process_time_s, "chunks": len(items)}
        bad_files = tallies.bad_files
    nevts = {
        name: sum(dataset["nevts"][file] for file in dataset["files"])
        for name, dataset in _usable(fileset, bad_files).items()
    }
    metrics = Metrics(
        events=sum(sum(files.values()) for files in output["events"].values()),
        bytes_read=sum(
            tally["bytes"]
            for files in output["files"].values()
            for tally in files.values()
        ),
        wall_time_s=time.perf_counter() - begin,
        process_time_s=float(raw.get("processtime", 0.0)),
        cores=cores,
        chunks=int(raw.get("chunks", 0)),
    )
    histograms = normalised(output["histograms"], nevts, lumi_pb=lumi_pb)
    return TtbarResult(histograms, output["histograms"], metrics, bad_files)


def _process(
    fileset: Fileset, executor: ExecutorBase, chunksize: int, on_bad_file: OnBadFile
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Process every event; return the output, coffea's metrics and the bad files."""
    runner = Runner(
        executor=executor,
        schema=BaseSchema,
        chunksize=chunksize,
        savemetrics=True,
        metadata_cache={},
    )
    entries, bad_files = _examine(fileset, runner, on_bad_file)
    # The processor goes on after a bad chunk: an exception would reach us from another
    # process as text only, and of one file after the other.
    good = _usable(fileset, bad_files)
    # The processor reads the columns itself, so coffea need not look at each of a
    # NanoAOD file's hundreds of branches for every chunk.
    output, raw = runner(
        good,
        TtbarProcessor(on_bad_file="skip"),
        iteritems_options={"filter_name": ["event"]},
    )
    _require_all(output["events"], entries)
    if output["bad_files"] and on_bad_file == "raise":
        file, cause = next(iter(output["bad_files"].items()))
        others = len(output["bad_files"]) - 1
        more = f" (and {others} more such files)" if others else ""
        raise UnreadableFileError(file, cause + more)
    return output, raw, bad_files | output["bad_files"]


def _require_all(
    processed: Mapping[str, Mapping[str, int]], entries: Mapping[tuple[str, str], int]
) -> None:
    """Raise if a file that was processed was not processed as a whole."""
    for dataset, files in processed.items():
        for file, events in files.items():
            if events != entries[dataset, file]:
                msg = (
                    f"{file}: {events} of {entries[dataset, file]} events were "
                    "processed: a task was lost; run again"
                )
                raise AnalysisError(msg)


def _examine(
    fileset: Fileset, runner: Runner, on_bad_file: OnBadFile
) -> tuple[dict[tuple[str, str], int], dict[str, str]]:
    """Open every file once, where the tasks will run; return entries and bad files.

    What is learnt goes into the runner's cache, so that coffea does not open the
    files again to cut them into chunks.
    """
    items = _items(fileset)
    look = runner.executor.copy(
        function_name="look", desc="Opening", unit="file", compression=None
    )
    found, _ = look(items, _look_into, {})
    entries: dict[tuple[str, str], int] = {}
    bad_files: dict[str, str] = {}
    for item in items:
        outcome = found["files"][item.dataset, item.filename]
        if isinstance(outcome, InputFileError):
            if on_bad_file == "raise":
                raise outcome
            bad_files[item.filename] = outcome.cause
        else:
            entries[item.dataset, item.filename] = outcome["numentries"]
            runner.metadata_cache[item] = {**item.metadata, **outcome}
    return entries, bad_files


def _look_into(item: FileMeta) -> dict[str, Any]:
    """Return a file's entries and uuid, or the error that says why it is unusable."""
    outcome: dict[str, Any] | InputFileError
    try:
        outcome = entries_and_uuid(item.filename, item.treename)
    except InputFileError as error:
        outcome = error
    return {"files": {(item.dataset, item.filename): outcome}}


def _items(fileset: Fileset) -> list[FileMeta]:
    """Return the files as coffea names them."""
    return [
        FileMeta(name, file, tree, dataset["metadata"])
        for name, dataset in fileset.items()
        for file, tree in dataset["files"].items()
    ]


def _usable(fileset: Fileset, bad_files: Mapping[str, str]) -> Fileset:
    """Return the fileset less some files, less datasets that have none left."""
    good: Fileset = {}
    for name, dataset in fileset.items():
        files = {f: t for f, t in dataset["files"].items() if f not in bad_files}
        if files:
            good[name] = {**dataset, "files": files}
    if not good:
        msg = f"none of the {len(bad_files)} input files can be used: {bad_files}"
        raise AnalysisError(msg)
    return good
