"""Run a ROOT RDataFrame graph over a fileset: threads here, or a cluster's workers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from distributed import Client, KilledWorker

from agc.errors import (
    AnalysisError,
    MissingBranchError,
    MissingTreeError,
    UnreadableFileError,
    workers_died,
)
from agc.hists.fill import dataset_histograms
from agc.hists.run import CHUNK_SIZE, Result, collected, files_of
from agc.hists.spark import raise_if_died, spark_failures
from agc.inputs.config import NOMINAL
from agc.inputs.filesets import in_halves, require_entries
from agc.inputs.metrics import Metrics
from agc.inputs.rootfiles import openable
from casa_env.errors import redacted
from casa_env.workers.batch import dask_jobqueue

if TYPE_CHECKING:
    import hist

    from agc.hists.run import AnyFileset
    from agc.inputs.config import Config

__all__ = ["run_rdataframe"]

#: Adds an analysis to an RDataFrame, with the variations of these labels.
#: Returns the booked histogram of each variable.
Graph: TypeAlias = Callable[[Any, tuple[str, ...]], Mapping[str, Any]]


def run_rdataframe(
    fileset: AnyFileset,
    graph: Graph,
    config: Config,
    *,
    header: Path,
    executor: Any = None,  # noqa: ANN401 - a Dask client or a Spark context
    chunksize: int = CHUNK_SIZE,
    cores: int = 0,
) -> Result:
    """Run a computation graph from files to normalised histograms.

    All datasets run at once, in one event loop each: with an executor in tasks of about
    so many events on its workers, otherwise in threads of this process.

    Parameters
    ----------
    fileset, config
        As `agc.hists.run.run_analysis` takes them.
    graph
        Called with each dataset's RDataFrame. The name of a variation that it makes by
        ``Vary`` is the label of the histograms' axis.
    header
        C++ that the graph uses. Of a header that has changed, a new kernel knows.
    executor
        A Dask client, or a ``SparkContext``.
    cores
        Threads, by default one for each core; of an executor, for the metrics.

    Raises
    ------
    InputFileError
        A file cannot be used; names the file and the reason.
    AnalysisError
        ROOT is not there, or failed, with what it said; or its workers died.
    """
    root, begin = _root(), time.perf_counter()
    root.RDF.Distributed.DistributeCppCode(header.read_text())
    if executor is None and not root.IsImplicitMTEnabled():
        root.EnableImplicitMT(cores)
    fileset = in_halves(fileset, config.data)
    events = {name: _events(root, one, config) for name, one in fileset.items()}
    booked, loops = {}, {}
    for name, dataset in fileset.items():
        metadata = dataset["metadata"]
        sample = metadata["process"], metadata.get("variation", NOMINAL)
        labels = config.variations_of(*sample)
        files, options = files_of(dataset), {}
        if executor is not None:
            parts = max(len(files), math.ceil(events[name] / chunksize))
            options = {"executor": executor, "npartitions": parts}
        (tree,) = set(files.values())
        frame = root.RDataFrame(tree, [*map(openable, files)], **options)
        loops[name] = frame.Count()
        if "half" in metadata:
            frame = frame.Filter(f"event % 2 == {metadata['half']}")
        booked[name] = sample, labels, graph(frame, labels)
    space = root.RDF.Experimental if executor is None else root.RDF.Distributed
    varied = {
        (name, variable): space.VariationsFor(histogram)
        for name, (_, _, histograms) in booked.items()
        for variable, histogram in histograms.items()
    }
    _loop(root, loops, executor)
    output: dict[str, Any] = {}
    for name, (sample, labels, _) in booked.items():
        histograms = dataset_histograms(config, *sample)
        for variable, histogram in histograms.items():
            _copy(varied[name, variable], histogram, labels)
        output[name] = {"histograms": histograms, "events": events[name]}
    metrics = Metrics(
        events=sum(map(int, (loop.GetValue() for loop in loops.values()))),
        bytes_read=0,
        wall_time_s=time.perf_counter() - begin,
        process_time_s=0.0,
        cores=cores or root.GetThreadPoolSize(),
        chunks=len(loops),
    )
    return collected(output, fileset, config, metrics=metrics)


def _root() -> Any:  # noqa: ANN401 - a module
    """Return ROOT, or say where it is."""
    try:
        import ROOT  # type: ignore[import-not-found]  # in an environment of its own
    except ImportError as error:
        msg = (
            f'ROOT cannot be imported here ({error}): choose the kernel "Python with '
            'ROOT (Casa)", which "python environment/install.py root" makes, or start '
            "the notebook by make run NOTEBOOK=…"
        )
        raise AnalysisError(msg) from error
    return ROOT


def _events(root: Any, dataset: Mapping[str, Any], config: Config) -> int:  # noqa: ANN401
    """Return a dataset's events; raise where a file cannot be used.

    ROOT would come to a worker's file in the middle of a run, end the process where
    trees are of two kinds, and say of a missing branch that some code has an error.
    """
    total, kinds = 0, {}
    quiet, root.gErrorIgnoreLevel = root.gErrorIgnoreLevel, root.kFatal
    try:
        for file, tree in files_of(dataset).items():
            kinds[file], entries = _kind_and_entries(root, file, tree, config.columns)
            require_entries(dataset, file, entries, data=config.data)
            total += entries
            if len(set(kinds.values())) > 1:
                first = next(iter(kinds))
                cause = f"a {kinds[file]}, where {first} has a {kinds[first]}: put them"
                raise MissingTreeError(file, f"{cause} into two datasets")
    finally:
        root.gErrorIgnoreLevel = quiet
    return total


def _kind_and_entries(
    root: Any,  # noqa: ANN401 - a module
    file: str,
    tree: str,
    columns: Iterable[str],
) -> tuple[str, int]:
    name = openable(file)
    try:
        opened = root.TFile.Open(name)
    except OSError:
        local = "://" not in name and not Path(name).exists()
        cause = "there is no such file" if local else "ROOT cannot open it"
        if file.startswith("https:"):
            cause = "ROOT from PyPI reads root:// and local files, but no https://"
        raise UnreadableFileError(file, cause) from None
    try:
        key = opened.GetKey(tree)
        if not key:
            raise MissingTreeError(file, f"no tree {tree!r} in it")
        kind = str(key.GetClassName())
        if kind == "TTree":
            entries = opened.Get(tree).GetEntries()
        else:
            entries = root.RNTupleReader.Open(tree, name).GetNEntries()
        there = {str(one) for one in root.RDataFrame(tree, name).GetColumnNames()}
    finally:
        opened.Close()
    missing = [name for name in columns if name not in there]
    if missing and entries:
        raise MissingBranchError(file, f"no branch {', '.join(missing)}")
    return kind, int(entries)


def _loop(root: Any, loops: dict[str, Any], executor: Any) -> None:  # noqa: ANN401
    """Let all datasets' event loops run; raise what one of them raises."""
    pool = ThreadPoolExecutor(len(loops))
    try:
        if executor is None:
            root.RDF.RunGraphs([*loops.values()])
        else:  # ROOT's own way does the same, and keeps errors to itself
            if isinstance(executor, Client):
                dask_jobqueue()  # which it imports, and cannot in a thread
            list(pool.map(_run, loops.items()))
    except (root.std.exception, RuntimeError, *spark_failures()) as error:
        said = " ".join(redacted(str(error)).split())
        raise_if_died(said)
        msg = f"RDataFrame failed: {said}; the lines above say more"
        raise AnalysisError(msg) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _run(loop: tuple[str, Any]) -> None:
    dataset, count = loop
    try:
        count.GetValue()
    except KilledWorker:
        task = f"a task of {dataset}"
        raise workers_died(task) from None


def _copy(
    varied: Any,  # noqa: ANN401 - ROOT's map of variations
    histogram: hist.Hist[Any],
    labels: tuple[str, ...],
) -> None:
    """Copy ROOT's histograms, by the protocol that both libraries speak (UHI)."""
    keys = {str(key).rpartition(":")[2]: str(key) for key in varied.GetKeys()}
    keys[labels[0]] = NOMINAL  # or what the whole dataset stands for
    view: Any = histogram.view(flow=True)
    for row, label in enumerate(labels):
        if label not in keys:
            msg = f"the graph has no variation {label!r}: Vary adds it to {set(keys)}"
            raise AnalysisError(msg)
        # not hist.Hist(one), for which ROOT 6.40 gives variances without their flow
        one = varied[keys[label]]
        axis, ours = one.GetXaxis(), histogram.axes["observable"]
        found = axis.GetNbins(), axis.GetXmin(), axis.GetXmax()
        if found != (ours.size, *ours.edges[[0, -1]]):
            msg = f"the graph has the bins {found}, which are not those of {ours}"
            raise AnalysisError(msg)
        view["value"][:, row] = one.values(flow=True)
        view["variance"][:, row] = one.variances(flow=True)
