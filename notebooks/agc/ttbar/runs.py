"""Run the ttbar analysis over a fileset, with any coffea executor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coffea.processor import accumulate

from agc.errors import AnalysisError
from agc.fast.processor import OnBadFile, TtbarProcessor, process_and_variation
from agc.fast.tasks import tally_pieces
from agc.inputs.metrics import Metrics
from agc.inputs.pieces import Piece, pieces_of
from agc.inputs.samples import LUMI_PB
from agc.inputs.variations import variations_of

if TYPE_CHECKING:
    import hist
    from coffea.processor.executor import ExecutorBase

    from agc.inputs.filesets import Fileset
    from agc.ttbar.ml.scoring import Assignment, InferenceReport

__all__ = ["CHUNK_SIZE", "Metrics", "TtbarResult", "normalised", "run_ttbar"]

#: Events that one task processes: about 20 MB of columns.
CHUNK_SIZE = 200_000


@dataclass(frozen=True)
class TtbarResult:
    """Histograms of a run and what is to be known about how they came about."""

    histograms: dict[str, hist.Hist[Any]]
    """By region, normalised to the luminosity; axes as `agc.hists.build`."""
    counts: dict[str, hist.Hist[Any]]
    """The same before cross-sections: in events."""
    metrics: Metrics
    bad_files: dict[str, str] = field(default_factory=dict)
    """Files left out, with the reason; empty unless ``on_bad_file="skip"``."""
    features: dict[str, hist.Hist[Any]] = field(default_factory=dict)
    """With an assignment: by feature of the best jet assignment, normalised."""
    inference: InferenceReport | None = None
    """With an assignment: where permutations were scored."""


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
        By region or feature, in events, as `TtbarProcessor` gives them; not changed.
    nevts
        Generated events of each dataset, over the files that were used.
    lumi_pb
        Integrated luminosity in 1/pb.

    Returns
    -------
    dict of str to hist.Hist
        Every cell of a dataset multiplied by cross-section x luminosity / events.
    """
    from agc.inputs.samples import sample_named

    scaled = {name: histogram.copy() for name, histogram in counts.items()}
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
    assignment: Assignment | None = None,
) -> TtbarResult:
    """Run the analysis from files to normalised histograms.

    Parameters
    ----------
    fileset
        As `agc.inputs.filesets` makes it: files with their tree, metadata, event
        counts.
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
        Folder of a skim cache, for example `agc.fast.skims.skim_folder()`: a file that
        is read is kept there as the events that could be selected, and running again
        reads only those. The result is the same. Tasks are then whole files. None:
        every event is read, and nothing is kept.
    assignment
        Assign the signal events' jets with this
        (`agc.ttbar.ml.scoring.assignment_here`) and histogram what was chosen, in the
        same pass.

    Returns
    -------
    TtbarResult
        Histograms, metrics, and the files left out.

    Raises
    ------
    InputFileError
        A file cannot be used; names the file and the reason. Raised once the first
        piece of every file was processed if that shows it, else after all were.
    UnknownProcessError
        A dataset's process or variation is not the task's.
    AnalysisError
        No file is left, or a chunk was lost; or jets are to be assigned from skims,
        which lack the columns.
    InferenceError
        Jets are to be assigned by a server that fails, without a fallback.
    """
    if skims is not None and assignment is not None:
        msg = "skims do not have the columns for assigning jets: use one of the two"
        raise AnalysisError(msg)
    begin = time.perf_counter()
    whole = [
        Piece(name, process_and_variation(name, dataset["metadata"]), file, tree)
        for name, dataset in fileset.items()
        for file, tree in dataset["files"].items()
    ]
    if skims is None:
        with_features = None
        if assignment is not None:
            from agc.ttbar.ml.feature_tasks import tally_with_features

            with_features = partial(tally_with_features, assignment=assignment)
        found, pieces = _tallied(whole, executor, chunksize, on_bad_file, with_features)
    else:
        found, pieces = tally_pieces(whole, executor, skims=skims), whole
    _require_all(pieces, found["files"])
    if on_bad_file == "raise":
        _raise_first(whole, found["files"])
    output = TtbarProcessor().postprocess(found)
    bad_files = output["bad_files"]
    nevts = {
        name: sum(dataset["nevts"][file] for file in dataset["files"])
        for name, dataset in _usable(fileset, bad_files).items()
    }
    tallies = [tally for files in found["files"].values() for tally in files.values()]
    metrics = Metrics(
        events=sum(sum(files.values()) for files in output["events"].values()),
        bytes_read=sum(tally["bytes"] for tally in tallies),
        wall_time_s=time.perf_counter() - begin,
        process_time_s=found["seconds"],
        cores=cores,
        chunks=len(pieces),
    )
    histograms = normalised(output["histograms"], nevts, lumi_pb=lumi_pb)
    features, report = {}, None
    if assignment is not None:
        from agc.ttbar.ml.feature_tasks import collected_features

        counts, report = collected_features(found["files"])
        features = normalised(counts, nevts, lumi_pb=lumi_pb)
    return TtbarResult(
        histograms, output["histograms"], metrics, bad_files, features, report
    )


def _tallied(
    whole: Sequence[Piece],
    executor: ExecutorBase,
    chunksize: int,
    on_bad_file: OnBadFile,
    with_features: Callable[..., dict[str, Any]] | None,
) -> tuple[dict[str, Any], list[Piece]]:
    """Tally each file's first piece, which tells how many there are, and the rest."""
    found = tally_pieces(
        whole, executor, chunksize=chunksize, with_features=with_features
    )
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
        more = tally_pieces(others, executor, with_features=with_features)
        found = accumulate([found, more])
    return found, pieces


def _raise_first(
    whole: Sequence[Piece], files: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> None:
    """Raise the first file's error, if there is one."""
    for piece in whole:
        tally = files.get(piece.dataset, {}).get(piece.file)
        for error in tally["errors"] if tally else ():
            raise error


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
