"""The HZZ task from files to histogram and cut flow, on any coffea executor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import awkward as ak
import numpy as np

from agc.errors import InputFileError
from agc.hists.build import empty_histogram
from agc.hists.fill import in_steps
from agc.hzz.columns import BRANCHES, TREE, events_of
from agc.hzz.samples import DATA, LUMI_PB, VARIATIONS, hzz_config
from agc.inputs.config import NOMINAL
from agc.inputs.filesets import Fileset, event_weight, require_entries
from agc.inputs.pieces import Piece, pieces_of, run_tasks
from agc.inputs.rootfiles import entries_and_uuid, load_arrays

if TYPE_CHECKING:
    import hist
    from coffea.processor.executor import ExecutorBase
    from numpy.typing import NDArray

__all__ = [
    "BINS",
    "CHANNELS",
    "CHUNK_SIZE",
    "HzzResult",
    "data_only",
    "empty_mass",
    "run_hzz",
]

#: Events that one task processes.
CHUNK_SIZE = 200_000
#: Regular binning of the four-lepton mass in GeV (AGC reference implementation).
BINS = (34, 80.0, 250.0)
#: Final states by the sum of the leptons' kinds: 11 for electrons, 13 for muons.
CHANNELS = {44: "4e", 48: "2e2μ", 52: "4μ"}

#: Says which events pass which cut, in the order of the cut flow.
Selection: TypeAlias = Callable[[Any], Any]
#: Computes the four-lepton mass of selected events.
Mass: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class HzzResult:
    """What a run found."""

    histogram: hist.Hist[Any]
    """Normalised to the luminosity; axes as `empty_mass`."""
    cutflow: dict[str, dict[str, NDArray[np.float64]]]
    """By dataset and cut: entries and sum of weights of what passed up to there, before
    normalisation; then those in the histogram's range and in each of `CHANNELS`."""


def run_hzz(
    fileset: Fileset,
    executor: ExecutorBase,
    *,
    selection: Selection,
    mass: Mass,
    chunksize: int = CHUNK_SIZE,
) -> HzzResult:
    """Run the analysis; the result depends on neither executor nor chunks.

    ``selection`` takes events of `agc.hzz.columns.events_of` and returns a
    ``PackedSelection``; ``mass`` takes those that pass all of its cuts.

    Raises
    ------
    InputFileError
        A file cannot be used, or is not in MeV; names the file and the reason.
    """
    pieces = []
    for name, dataset in fileset.items():
        process = dataset["metadata"]["process"]
        for file in dataset["files"]:
            whole = Piece(name, (process, NOMINAL), file, TREE)
            entries = entries_and_uuid(file, TREE, BRANCHES)["numentries"]
            require_entries(dataset, file, entries)
            pieces += pieces_of(whole, entries, chunksize)
    task = partial(_tally, selection=selection, mass=mass)
    found = run_tasks(task, pieces, executor, description="Processing")
    errors = sorted(found["errors"], key=str)
    if errors:
        raise errors[0]
    histogram = empty_mass()
    view: Any = histogram.view(flow=True)
    for name in sorted(found["sums"]):
        weight = event_weight(fileset[name], lumi_pb=LUMI_PB)
        process = histogram.axes["process"].index(fileset[name]["metadata"]["process"])
        sums = found["sums"][name] * (weight, weight**2)
        view["value"][:, process, : len(VARIATIONS)] += sums[..., 0].T
        view["variance"][:, process, : len(VARIATIONS)] += sums[..., 1].T
    return HzzResult(histogram, found["cutflow"])


def empty_mass() -> hist.Hist[Any]:
    """Return the histogram of the four-lepton mass without events."""
    # the order of its reference, in which the signal comes last
    processes = (DATA, *reversed(hzz_config(real_data=False).processes))
    return empty_histogram(BINS, r"$m_{4\ell}$ [GeV]", processes, VARIATIONS)


def data_only(histogram: hist.Hist[Any]) -> hist.Hist[Any]:
    """Return a copy without the simulation."""
    import hist

    copy = empty_mass()
    rows = (hist.loc(DATA), hist.loc(NOMINAL))
    observed: Any = histogram[:, *rows]
    copy[:, *rows] = observed.view(flow=True)
    return copy


def _tally(piece: Piece, *, selection: Selection, mass: Mass) -> dict[str, Any]:
    """Return one piece's tally; an exception would lose its type on the way back."""
    wanted: dict[str, Any] = {"entry_start": piece.start, "entry_stop": piece.stop}
    try:
        arrays, _ = load_arrays(piece.file, piece.tree, BRANCHES, **wanted)
        is_data = piece.sample[0] == DATA
        events = events_of(arrays, file=piece.file, weighted=not is_data)
    except InputFileError as error:
        return {"sums": {}, "cutflow": {}, "errors": {error}}
    weight = ak.to_numpy(events.weight)
    cuts = selection(events)
    chosen = cuts.all(*cuts.names)
    masses, chosen_weight = ak.to_numpy(mass(events[chosen])), weight[chosen]
    kinds = ak.to_numpy(ak.sum(events[chosen].leptons.kind, axis=1))
    inside = (masses >= BINS[1]) & (masses < BINS[2])
    passed = {
        "all entries": weight,
        **{
            name: weight[cuts.all(*cuts.names[: i + 1])]
            for i, name in enumerate(cuts.names)
        },
        f"{BINS[1]:g} < m(4l) < {BINS[2]:g} GeV": chosen_weight[inside],
        **{name: chosen_weight[kinds == sum_] for sum_, name in CHANNELS.items()},
    }
    counted = {name: np.array([len(w), w.sum()]) for name, w in passed.items()}
    sums = _mass_sums(masses, chosen_weight, is_data=is_data)
    return {
        "sums": {piece.dataset: sums},
        "cutflow": {piece.dataset: counted},
        "errors": set(),
    }


def _mass_sums(
    mass: NDArray[np.float64], weight: NDArray[np.float64], *, is_data: bool
) -> NDArray[np.float64]:
    """Add up weights and their squares, shape (variations, bins + 2, 2).

    Collision data fill the nominal variation only. Chunks can be added in any order:
    the result is the same to the last bit.
    """
    import hist

    axis: Any = hist.axis.Regular(*BINS)
    sums = np.zeros((len(VARIATIONS), axis.extent, 2))
    for row, (on_weight, on_mass) in enumerate(VARIATIONS.values()):
        if is_data and row > 0:
            break
        bins = np.asarray(axis.index(mass * on_mass)) + 1
        stepped = in_steps(weight * on_weight)
        for column, values in enumerate((stepped, in_steps(stepped**2))):
            sums[row, :, column] = np.bincount(bins, values, minlength=axis.extent)
    return sums
