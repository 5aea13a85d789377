"""The HZZ task from files to histogram and cut flow, on any coffea executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import awkward as ak
import numpy as np

from agc.hists.fill import dataset_histograms, fill, in_steps
from agc.hists.run import CHUNK_SIZE, OnBadFile, run_analysis
from agc.hists.spectra import contents, variances
from agc.hzz.columns import events_of
from agc.hzz.samples import (
    BINS,
    DATA,
    MASS_LABEL,
    REGION,
    SAMPLES,
    VARIATIONS,
    hzz_config,
)
from agc.inputs.config import NOMINAL

if TYPE_CHECKING:
    import hist
    from coffea.processor.executor import ExecutorBase
    from numpy.typing import NDArray

    from agc.inputs.filesets import Fileset

__all__ = [
    "CHANNELS",
    "FINE_BINS",
    "REGIONS",
    "HzzProcessor",
    "HzzResult",
    "data_only",
    "empty_regions",
    "in_region",
    "run_hzz",
]

#: Final states by the sum of the leptons' kinds: 11 for electrons, 13 for muons.
CHANNELS = {44: "4e", 48: "2e2μ", 52: "4μ"}
#: The bins in which control regions are kept, around `BINS` and at their edges.
FINE_BINS = (300, 50.0, 350.0)
#: Which of two cuts an event fails, beside passing all others: neither, the one, ….
REGIONS = ("signal", "charge", "flavour", "both")

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
    """Normalised to the luminosity; axes ``observable``, ``process``, ``variation``."""
    cutflow: Mapping[str, Mapping[str, Any]]
    """By dataset and cut: entries and sum of weights of what passed up to there, before
    normalisation; then those in the histogram's range and in each of `CHANNELS`."""
    regions: hist.Hist[Any]
    """The same events and those of the control regions; axes as `empty_regions`."""
    weights: Mapping[str, float]
    """What the weight of a dataset's events is multiplied by."""


class HzzProcessor:
    """The task as a coffea processor, of events as `events_of` makes them.

    ``selection`` returns a ``PackedSelection``. Its two cuts ``inverted``, on charge
    and flavour, are turned round in the control regions; ``mass`` takes events that
    pass all others.
    """

    def __init__(
        self, selection: Selection, mass: Mass, inverted: tuple[str, str]
    ) -> None:
        self.config = hzz_config(real_data=False)
        self.selection, self.mass, self.inverted = selection, mass, inverted

    def events_of(
        self,
        arrays: Mapping[str, ak.Array],
        metadata: Mapping[str, Any],
        *,
        file: str,
    ) -> ak.Array:
        """Return events, those of collisions without weights."""
        weighted = metadata["process"] != DATA
        events = events_of(arrays, file=file, weighted=weighted)
        return ak.with_parameter(events, "metadata", dict(metadata))

    def process(self, events: ak.Array) -> dict[str, Any]:
        """Return histograms, cut flow and regions; coffea can add them up."""
        process, weight = events.metadata["process"], ak.to_numpy(events.weight)
        cuts = self.selection(events)
        others = cuts.all(*(name for name in cuts.names if name not in self.inverted))
        chosen = events[others]
        charge, flavour = (~cuts.all(name)[others] for name in self.inverted)
        region = charge + 2 * flavour  # in the order of REGIONS
        masses, chosen_weight = (
            ak.to_numpy(self.mass(chosen)),
            ak.to_numpy(chosen.weight),
        )
        kinds = ak.to_numpy(ak.sum(chosen.leptons.kind, axis=1))
        signal = region == 0
        inside = signal & (masses >= BINS[1]) & (masses < BINS[2])
        passed = {
            "all entries": weight,
            **{
                name: weight[cuts.all(*cuts.names[: i + 1])]
                for i, name in enumerate(cuts.names)
            },
            f"{BINS[1]:g} < m(4l) < {BINS[2]:g} GeV": chosen_weight[inside],
            **{
                name: chosen_weight[signal & (kinds == sum_)]
                for sum_, name in CHANNELS.items()
            },
        }
        histograms = dataset_histograms(self.config, process, NOMINAL)
        for label in histograms[REGION].axes["variation"]:
            on_weight, on_mass = VARIATIONS[label]
            weights = {label: chosen_weight[signal] * on_weight}
            fill(histograms[REGION], masses[signal] * on_mass, weights)
        return {
            events.metadata["dataset"]: {
                "histograms": histograms,
                "cutflow": {
                    name: np.array([len(w), w.sum()]) for name, w in passed.items()
                },
                "regions": _region_sums(masses, chosen_weight, region, kinds),
            }
        }


def run_hzz(
    fileset: Fileset,
    executor: ExecutorBase,
    processor: HzzProcessor,
    *,
    chunksize: int = CHUNK_SIZE,
    on_bad_file: OnBadFile = "raise",
) -> HzzResult:
    """Run the analysis, as `run_analysis` does, and add the control regions up.

    Raises
    ------
    InputFileError
        A file cannot be used, or is not in MeV; names the file and the reason.
    """
    result = run_analysis(
        fileset, processor, executor, chunksize=chunksize, on_bad_file=on_bad_file
    )
    regions = empty_regions()
    view: Any = regions.view(flow=True)
    for name, weight in sorted(result.weights.items()):
        process = regions.axes["process"].index(fileset[name]["metadata"]["process"])
        for i, field in enumerate(("value", "variance")):
            sums = result.sums[name]["output"]["regions"][..., i] * weight ** (i + 1)
            view[field][:, process, :-1] += sums.T
    return HzzResult(result.histograms[REGION], result.cutflow, regions, result.weights)


def empty_regions() -> hist.Hist[Any]:
    """Return the histogram of the mass by process, region and final state.

    The axis ``channel`` has the sum of the leptons' kinds, whatever it is.
    """
    import hist

    processes = dict.fromkeys(sample.process for sample in SAMPLES)
    return hist.Hist(
        hist.axis.Regular(*FINE_BINS, name="observable", label=MASS_LABEL),
        hist.axis.StrCategory(processes, name="process", label="Process"),
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

    copy = histogram.copy().reset()
    rows = (hist.loc(DATA), hist.loc(NOMINAL))
    observed: Any = histogram[:, *rows]
    copy[:, *rows] = observed.view(flow=True)
    return copy


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
    index, size = np.ravel_multi_index(places, shape), int(np.prod(shape))
    stepped = in_steps(weight)  # chunks can be added in any order
    sums = [np.bincount(index, w, size) for w in (stepped, in_steps(stepped**2))]
    return np.stack(sums, axis=1, dtype=np.float64).reshape(*shape, 2)
