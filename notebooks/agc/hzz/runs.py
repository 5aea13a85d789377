"""From files to histogram and cut flow, on any coffea executor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.errors import InputFileError
from agc.hzz.columns import BRANCHES, TREE, Events, load_events
from agc.hzz.files import Inputs
from agc.hzz.histograms import histogram_of, mass_sums
from agc.hzz.samples import sample_named
from agc.hzz.selection import CHANNELS, CUTS, select
from agc.inputs.pieces import Piece, pieces_of, run_tasks
from agc.inputs.rootfiles import entries_and_uuid

if TYPE_CHECKING:
    import hist
    from coffea.processor.executor import ExecutorBase
    from numpy.typing import NDArray

__all__ = ["CHUNK_SIZE", "HzzResult", "run_hzz", "tally_of"]

#: Events that one task processes.
CHUNK_SIZE = 200_000


@dataclass(frozen=True)
class HzzResult:
    """What a run found."""

    histogram: hist.Hist[Any]
    """Normalised to the luminosity; axes as `agc.hzz.histograms.empty_histogram`."""

    cutflow: dict[str, NDArray[np.float64]]
    """By dataset: entries and sum of weights, before normalisation, after each of
    `agc.hzz.selection.CUTS`; shape (cuts, 2)."""

    channels: dict[str, NDArray[np.float64]]
    """By dataset: the same for each of `agc.hzz.selection.CHANNELS`."""

    sumw: dict[str, float]
    """Sums of weights that differ from those of the public files."""


def run_hzz(
    inputs: Inputs, executor: ExecutorBase, *, chunksize: int = CHUNK_SIZE
) -> HzzResult:
    """Run the analysis.

    Parameters
    ----------
    inputs
        Files and normalisation, as `agc.hzz.files.hzz_inputs` gives them.
    executor
        Any coffea executor; the result does not depend on it.
    chunksize
        Events for one task; the result does not depend on it.

    Returns
    -------
    HzzResult
        Histogram and cut flow.

    Raises
    ------
    InputFileError
        A file cannot be used, or is not in MeV; names the file and the reason.
    """
    pieces = []
    for name, file in inputs.files.items():
        sample = sample_named(name)
        whole = Piece(name, (sample.process, "nominal"), file, TREE)
        entries = entries_and_uuid(file, TREE, BRANCHES)["numentries"]
        pieces += pieces_of(whole, entries, chunksize)
    found = run_tasks(_tally, pieces, executor, description="Processing")
    errors = sorted(found["errors"], key=str)
    if errors:
        raise errors[0]
    return HzzResult(
        histogram_of(found["sums"], inputs.sumw),
        found["cutflow"],
        found["channels"],
        inputs.sumw,
    )


def tally_of(name: str, events: Events) -> dict[str, Any]:
    """Select a chunk's events and return what they add to the result.

    Parameters
    ----------
    name
        The dataset.
    events
        The chunk.

    Returns
    -------
    dict
        ``sums``, ``cutflow`` and ``channels`` by dataset, and ``errors`` (none), all of
        which coffea can add up.
    """
    is_data = sample_named(name).is_data
    selected = select(events, is_data=is_data)
    by_channel = [selected.weight[selected.channel == key] for key in CHANNELS]
    return {
        "sums": {name: mass_sums(selected.mass, selected.weight, is_data=is_data)},
        "cutflow": {name: _counted(selected.passed)},
        "channels": {name: _counted(by_channel)},
        "errors": set(),
    }


def _counted(weights: Any) -> NDArray[np.float64]:  # noqa: ANN401 - a sequence of arrays
    return np.array([[len(some), some.sum()] for some in weights], dtype=np.float64)


def _tally(piece: Piece) -> dict[str, Any]:
    """Return one piece's tally; an exception would lose its type on the way back."""
    try:
        events, _ = load_events(
            piece.file, entry_start=piece.start, entry_stop=piece.stop
        )
    except InputFileError as error:
        nothing: dict[str, Any] = {piece.dataset: np.zeros((len(CUTS), 2))}
        return {"sums": {}, "cutflow": nothing, "channels": {}, "errors": {error}}
    return tally_of(piece.dataset, events)
