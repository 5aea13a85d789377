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
from agc.hists.spectra import contents, variances
from agc.hzz.columns import BRANCHES, TREE, events_of
from agc.hzz.samples import DATA, LUMI_PB, SAMPLES, VARIATIONS
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
    "FINE_BINS",
    "REGIONS",
    "HzzResult",
    "data_only",
    "empty_mass",
    "empty_regions",
    "in_region",
    "run_hzz",
]

#: Events that one task processes.
CHUNK_SIZE = 200_000
#: Regular binning of the four-lepton mass in GeV (AGC reference implementation).
BINS = (34, 80.0, 250.0)
#: Final states by the sum of the leptons' kinds: 11 for electrons, 13 for muons.
CHANNELS = {44: "4e", 48: "2e2μ", 52: "4μ"}
#: The bins in which control regions are kept, around `BINS` and at their edges.
FINE_BINS = (300, 50.0, 350.0)
#: Which of two cuts an event fails, beside passing all others: neither, the one, ….
REGIONS = ("signal", "charge", "flavour", "both")

_LABEL = r"$m_{4\ell}$ [GeV]"
#: The data first: the order of the references.
_PROCESSES = tuple(dict.fromkeys(sample.process for sample in SAMPLES))
#: What four leptons' kinds can add up to.
_KINDS = range(44, 53, 2)

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
    regions: hist.Hist[Any]
    """The same events and those of the control regions; axes as `empty_regions`."""


def run_hzz(
    fileset: Fileset,
    executor: ExecutorBase,
    *,
    selection: Selection,
    mass: Mass,
    inverted: tuple[str, str],
    chunksize: int = CHUNK_SIZE,
) -> HzzResult:
    """Run the analysis; the result depends on neither executor nor chunks.

    ``selection`` takes events of `agc.hzz.columns.events_of` and returns a
    ``PackedSelection``. Its two cuts ``inverted``, on charge and flavour, are turned
    round in the control regions; ``mass`` takes events that pass all others.

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
            require_entries(dataset, file, entries, data=DATA)
            pieces += pieces_of(whole, entries, chunksize)
    task = partial(_tally, selection=selection, mass=mass, inverted=inverted)
    found = run_tasks(task, pieces, executor, description="Processing")
    errors = sorted(found["errors"], key=str)
    if errors:
        raise errors[0]
    histogram, regions = empty_mass(), empty_regions()
    view: Any = histogram.view(flow=True)
    by_region: Any = regions.view(flow=True)
    for name in sorted(found["sums"]):
        weight = event_weight(fileset[name], lumi_pb=LUMI_PB)
        process = histogram.axes["process"].index(fileset[name]["metadata"]["process"])
        for i, field in enumerate(("value", "variance")):
            sums = found["sums"][name][..., i] * weight ** (i + 1)
            view[field][:, process, : len(VARIATIONS)] += sums.T
            sums = found["regions"][name][..., i] * weight ** (i + 1)
            by_region[field][:, process, :-1] += sums.T
    return HzzResult(histogram, found["cutflow"], regions)


def empty_mass() -> hist.Hist[Any]:
    """Return the histogram of the four-lepton mass without events."""
    return empty_histogram(BINS, _LABEL, _PROCESSES, VARIATIONS)


def empty_regions() -> hist.Hist[Any]:
    """Return the histogram of the mass by process, region and final state.

    The axis ``channel`` has the sum of the leptons' kinds, whatever it is.
    """
    import hist

    return hist.Hist(
        hist.axis.Regular(*FINE_BINS, name="observable", label=_LABEL),
        hist.axis.StrCategory(_PROCESSES, name="process", label="Process"),
        hist.axis.StrCategory(REGIONS, name="region", label="Region"),
        hist.axis.IntCategory(_KINDS, name="channel", label="Sum of kinds"),
        storage=hist.storage.Weight(),
        label="Events",
    )


def in_region(
    regions: hist.Hist[Any], processes: tuple[str, ...], region: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return contents and variances of shape (fine bins, channels) in a region."""
    row = REGIONS.index(region)
    columns = [regions.axes["process"].index(process) for process in processes]
    return (
        contents(regions)[:, columns, row].sum(axis=1),
        variances(regions)[:, columns, row].sum(axis=1),
    )


def data_only(histogram: hist.Hist[Any]) -> hist.Hist[Any]:
    """Return a copy without the simulation."""
    import hist

    copy = empty_mass()
    rows = (hist.loc(DATA), hist.loc(NOMINAL))
    observed: Any = histogram[:, *rows]
    copy[:, *rows] = observed.view(flow=True)
    return copy


def _tally(
    piece: Piece, *, selection: Selection, mass: Mass, inverted: tuple[str, str]
) -> dict[str, Any]:
    """Return one piece's tally; an exception would lose its type on the way back."""
    wanted: dict[str, Any] = {"entry_start": piece.start, "entry_stop": piece.stop}
    try:
        arrays, _ = load_arrays(piece.file, piece.tree, BRANCHES, **wanted)
        is_data = piece.sample[0] == DATA
        events = events_of(arrays, file=piece.file, weighted=not is_data)
    except InputFileError as error:
        return {"sums": {}, "regions": {}, "cutflow": {}, "errors": {error}}
    weight = ak.to_numpy(events.weight)
    cuts = selection(events)
    chosen = cuts.all(*(name for name in cuts.names if name not in inverted))
    charge, flavour = (~cuts.all(name)[chosen] for name in inverted)
    region = charge + 2 * flavour  # in the order of REGIONS
    masses, chosen_weight = ak.to_numpy(mass(events[chosen])), weight[chosen]
    kinds = ak.to_numpy(ak.sum(events[chosen].leptons.kind, axis=1))
    inside = (region == 0) & (masses >= BINS[1]) & (masses < BINS[2])
    passed = {
        "all entries": weight,
        **{
            name: weight[cuts.all(*cuts.names[: i + 1])]
            for i, name in enumerate(cuts.names)
        },
        f"{BINS[1]:g} < m(4l) < {BINS[2]:g} GeV": chosen_weight[inside],
        **{
            name: chosen_weight[(region == 0) & (kinds == sum_)]
            for sum_, name in CHANNELS.items()
        },
    }
    counted = {name: np.array([len(w), w.sum()]) for name, w in passed.items()}
    signal = masses[region == 0], chosen_weight[region == 0]
    return {
        "sums": {piece.dataset: _mass_sums(*signal, is_data=is_data)},
        "regions": {piece.dataset: _region_sums(masses, chosen_weight, region, kinds)},
        "cutflow": {piece.dataset: counted},
        "errors": set(),
    }


def _mass_sums(
    mass: NDArray[np.float64], weight: NDArray[np.float64], *, is_data: bool
) -> NDArray[np.float64]:
    """Add up weights and their squares, shape (variations, bins + 2, 2).

    Collision data fill the nominal variation only.
    """
    import hist

    axis: Any = hist.axis.Regular(*BINS)
    sums = np.zeros((len(VARIATIONS), axis.extent, 2))
    for row, (on_weight, on_mass) in enumerate(VARIATIONS.values()):
        if is_data and row > 0:
            break
        bins = np.asarray(axis.index(mass * on_mass)) + 1
        sums[row] = _sums(bins, weight * on_weight, axis.extent)
    return sums


def _region_sums(
    mass: NDArray[np.float64],
    weight: NDArray[np.float64],
    region: NDArray[np.int64],
    kinds: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Add up weights and their squares, shape (channels + 1, regions, bins + 2, 2)."""
    axes = empty_regions().axes
    places = [
        np.asarray(axes["channel"].index(kinds)),
        region,
        np.asarray(axes["observable"].index(mass)) + 1,
    ]
    shape = (axes["channel"].extent, len(REGIONS), axes["observable"].extent)
    index = np.ravel_multi_index(places, shape)
    return _sums(index, weight, int(np.prod(shape))).reshape(*shape, 2)


def _sums(
    index: NDArray[np.int64], weight: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """Add up weights and their squares by index, shape (size, 2).

    Chunks can be added in any order: the result is the same to the last bit.
    """
    stepped = in_steps(weight)
    return np.stack(
        [
            np.bincount(index, w, minlength=size)
            for w in (stepped, in_steps(stepped**2))
        ],
        axis=1,
    )
