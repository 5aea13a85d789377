"""The HZZ task from files to histogram and cut flow, on any coffea executor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
from coffea.analysis_tools import PackedSelection

from agc.errors import InputFileError
from agc.hists.build import empty_histogram
from agc.hzz.columns import BRANCHES, TREE, events_of
from agc.hzz.samples import DATA, LUMI_PB, VARIATIONS, hzz_config
from agc.inputs.config import NOMINAL
from agc.inputs.filesets import Fileset, event_weight
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
    "CUTS",
    "HzzResult",
    "Selected",
    "data_only",
    "empty_mass",
    "run_hzz",
    "select",
    "tally_of",
]

#: Events that one task processes.
CHUNK_SIZE = 200_000
#: Regular binning of the four-lepton mass in GeV (AGC reference implementation).
BINS = (34, 80.0, 250.0)
#: Final states by the sum of the leptons' types: 11 for electrons, 13 for muons.
CHANNELS = {44: "4e", 48: "2e2μ", 52: "4μ"}
#: The rows of the cut flow; the last one is no cut but the range of the histogram.
CUTS = (
    "all entries",
    "exactly four leptons",
    "total charge zero",
    "4e, 2e2μ or 4μ",
    f"{BINS[1]:g} < m(4l) < {BINS[2]:g} GeV",
)
#: Weights are rounded to multiples of 1 / this, so that double precision adds them
#: exactly, in any order, up to 5e8 in a bin.
_WEIGHT_STEPS = 2.0**24


@dataclass(frozen=True)
class Selected:
    """What is left of a chunk, and what was cut."""

    mass: NDArray[np.float64]
    """Four-lepton mass in GeV."""
    weight: NDArray[np.float64]
    """Event weight before normalisation; 1 in collision data."""
    channel: NDArray[np.int64]
    """The sum of the leptons' types, a key of `CHANNELS`."""
    passed: tuple[NDArray[np.float64], ...]
    """For each of `CUTS`, the weights of the events that passed up to there."""


def select(events: ak.Array, *, is_data: bool) -> Selected:
    """Apply the selection: four leptons, charges and flavours that a ZZ pair allows.

    Notes
    -----
    As the AGC reference implementation has it: there is no cut on momenta, isolation or
    the masses of pairs, and the sums alone do not ask for opposite charges of each
    flavour.
    """
    leptons = events.leptons
    weight = np.ones(len(events)) if is_data else ak.to_numpy(events.weight)
    channel = ak.to_numpy(ak.sum(leptons.kind, axis=1))
    cuts = PackedSelection()
    cuts.add(CUTS[1], ak.num(leptons) == 4)  # noqa: PLR2004 - the task's name
    cuts.add(CUTS[2], ak.sum(leptons.charge, axis=1) == 0)
    cuts.add(CUTS[3], np.isin(channel, list(CHANNELS)))
    chosen = cuts.all(*CUTS[1:4])
    four = leptons[chosen]
    mass = ak.to_numpy((four[:, 0] + four[:, 1] + four[:, 2] + four[:, 3]).mass)
    inside = (mass >= BINS[1]) & (mass < BINS[2])
    return Selected(
        mass,
        weight[chosen],
        channel[chosen],
        (
            weight,
            *(weight[cuts.all(*CUTS[1:i])] for i in range(2, 5)),
            weight[chosen][inside],
        ),
    )


@dataclass(frozen=True)
class HzzResult:
    """What a run found."""

    histogram: hist.Hist[Any]
    """Normalised to the luminosity; axes as `empty_mass`."""
    cutflow: dict[str, NDArray[np.float64]]
    """By dataset: entries and sum of weights, before normalisation, after each of
    `CUTS`; shape (cuts, 2)."""
    channels: dict[str, NDArray[np.float64]]
    """By dataset: the same for each of `CHANNELS`."""


def run_hzz(
    fileset: Fileset, executor: ExecutorBase, *, chunksize: int = CHUNK_SIZE
) -> HzzResult:
    """Run the analysis; the result depends on neither executor nor chunks.

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
            pieces += pieces_of(whole, entries, chunksize)
    found = run_tasks(_tally, pieces, executor, description="Processing")
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
    return HzzResult(histogram, found["cutflow"], found["channels"])


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


def tally_of(name: str, events: ak.Array, *, is_data: bool) -> dict[str, Any]:
    """Select a chunk's events and return what they add to the result."""
    selected = select(events, is_data=is_data)
    by_channel = [selected.weight[selected.channel == key] for key in CHANNELS]
    return {
        "sums": {name: _mass_sums(selected.mass, selected.weight, is_data=is_data)},
        "cutflow": {name: _counted(selected.passed)},
        "channels": {name: _counted(by_channel)},
        "errors": set(),
    }


def _tally(piece: Piece) -> dict[str, Any]:
    """Return one piece's tally; an exception would lose its type on the way back."""
    wanted: dict[str, Any] = {"entry_start": piece.start, "entry_stop": piece.stop}
    try:
        arrays, _ = load_arrays(piece.file, piece.tree, BRANCHES, **wanted)
        events = events_of(arrays, file=piece.file)
    except InputFileError as error:
        nothing: dict[str, Any] = {piece.dataset: np.zeros((len(CUTS), 2))}
        return {"sums": {}, "cutflow": nothing, "channels": {}, "errors": {error}}
    return tally_of(piece.dataset, events, is_data=piece.sample[0] == DATA)


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
        stepped = _stepped(weight * on_weight)
        for column, values in enumerate((stepped, _stepped(stepped**2))):
            sums[row, :, column] = np.bincount(bins, values, minlength=axis.extent)
    return sums


def _stepped(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round to the nearest multiple of the weight step."""
    stepped: NDArray[np.float64] = (
        np.floor(weight * _WEIGHT_STEPS + 0.5) / _WEIGHT_STEPS
    )
    return stepped


def _counted(weights: Any) -> NDArray[np.float64]:  # noqa: ANN401 - a sequence of arrays
    return np.array([[len(some), some.sum()] for some in weights], dtype=np.float64)
