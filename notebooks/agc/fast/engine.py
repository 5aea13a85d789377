"""The ttbar analysis by the compiled kernel: the same histograms, in one pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from coffea.processor import ProcessorABC

from agc.errors import InputFileError
from agc.fast.columns import BRANCHES, load_columns, read_columns
from agc.fast.kernel import FILLED_VARIATIONS, fill_sums
from agc.hists.fill import dataset_histograms, in_steps
from agc.hists.tasks import failed_tally, found_in, tally_of
from agc.inputs.pieces import Piece, read_piece
from agc.inputs.variations import NOMINAL, SCALE_VAR

if TYPE_CHECKING:
    import awkward as ak
    import hist

    from agc.fast.columns import Events
    from agc.inputs.config import Config

__all__ = ["CompiledTtbar", "histograms_of"]

#: Weight variations that are one constant factor: label -> factor.
_CONSTANT_WEIGHTS = {"scale_var_up": 1 + SCALE_VAR, "scale_var_down": 1 - SCALE_VAR}


class CompiledTtbar(ProcessorABC):  # type: ignore[misc] # coffea has no types
    """The engine that `agc.hists.run.run_analysis` runs, and a coffea processor.

    Parameters
    ----------
    config
        The task's, with any processes; the kernel fills the task's own variables with
        the task's own variations.
    skims
        Folder of a skim cache, as the tasks see it: a file that is read is kept there
        as the events that could be selected, and running again reads only those.
    with_features
        Tallies a piece, and assigns its jets (`agc.ttbar.ml.feature_tasks`); not with
        skims, which lack the columns.
    resolution
        Jet-pt factors for ``pt_res_up`` instead of the counter-based random numbers,
        keyed by file and starting at its first entry: for comparing with a reference
        that draws its own. Only with coffea's ``Runner``.
    """

    def __init__(
        self,
        config: Config,
        *,
        skims: Path | None = None,
        with_features: Callable[..., dict[str, Any]] | None = None,
        resolution: dict[str, np.ndarray] | None = None,
    ) -> None:
        self.config = config
        self.skims = skims
        self.with_features = with_features
        self.resolution = resolution or {}
        self.whole_files = skims is not None

    def tally(self, piece: Piece, chunksize: int | None) -> dict[str, Any]:
        """Return one piece's tally."""
        if self.with_features is not None:
            return self.with_features(piece, engine=self, chunksize=chunksize)
        begin = time.perf_counter()
        entries = None
        try:
            if self.skims is None:
                arrays, n_events, n_bytes, entries = read_piece(
                    piece, BRANCHES, chunksize
                )
                columns = read_columns(arrays, file=piece.file)
            else:
                from agc.fast.preselection import taken
                from agc.fast.skims import load_skim

                skim = load_skim(piece.file, piece.tree, self.skims)
                columns, n_bytes, n_events = skim.events, skim.bytes_read, skim.entries
                if piece.half is not None:
                    half = np.flatnonzero(columns.event % 2 == piece.half)
                    columns = taken(columns, half)
        except InputFileError as error:
            tally = failed_tally(piece, error)
        else:
            output = self.output_of(piece.sample, columns)
            tally = tally_of(piece.sample, output, n_events=n_events, n_bytes=n_bytes)
        return found_in(piece, tally, entries if chunksize else None, begin)

    def process(self, events: ak.Array) -> dict[str, Any]:
        """Return what the columnar processor does of one of coffea's chunks.

        Of the events only the metadata are used: the columns are read from the file
        in bulk, so ``schema=BaseSchema`` is enough.
        """
        metadata = events.metadata
        sample = metadata["process"], metadata.get("variation", NOMINAL)
        columns, _ = load_columns(
            metadata["filename"],
            metadata["treename"],
            entry_start=metadata["entrystart"],
            entry_stop=metadata["entrystop"],
        )
        factors = self.resolution.get(metadata["filename"])
        if factors is not None and metadata["entrystart"] != 0:
            msg = "injected resolution factors need whole files as chunks"
            raise ValueError(msg)
        output = self.output_of(sample, columns, factors)
        return {metadata["dataset"]: {**output, "events": len(events)}}

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        """Return it as it is."""
        return accumulator

    def output_of(
        self,
        sample: tuple[str, str],
        columns: Events,
        resolution: np.ndarray | None = None,
    ) -> dict[str, Any]:
        """Return the histograms of some events, by variable."""
        factors = np.empty(0) if resolution is None else np.asarray(resolution, float)
        sums = fill_sums(columns, factors, sample[1] != NOMINAL)
        histograms = dataset_histograms(self.config, *sample)
        return {"histograms": histograms_of(sums, histograms, sample[1])}


def histograms_of(
    sums: np.ndarray, histograms: dict[str, hist.Hist[Any]], variation: str
) -> dict[str, hist.Hist[Any]]:
    """Put the kernel's sums into a dataset's empty histograms, and return these.

    Parameters
    ----------
    sums
        Of weights and squared weights; shape (histograms, variations, bins with flow,
        2), the variations as `agc.fast.kernel.FILLED_VARIATIONS`.
    histograms
        As `agc.hists.fill.dataset_histograms` makes them.
    variation
        The dataset's.
    """
    for of_one, histogram in zip(sums, histograms.values(), strict=True):
        view: Any = histogram.view(flow=True)
        for row, label in enumerate(histogram.axes["variation"]):
            column, factor = 0, 1.0
            if variation == NOMINAL and label in _CONSTANT_WEIGHTS:
                factor = float(in_steps(_CONSTANT_WEIGHTS[label]))
            elif variation == NOMINAL:
                column = FILLED_VARIATIONS.index(label)
            view["value"][:, row] = of_one[column, :, 0] * factor
            view["variance"][:, row] = of_one[column, :, 1] * in_steps(factor**2)
    return histograms
