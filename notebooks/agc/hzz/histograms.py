"""The HZZ task's histogram: axes, sums that do not depend on order, normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.spectra import contents, spectrum
from agc.hzz.samples import DATA, LUMI_PB, PROCESSES, Sample, sample_named
from agc.hzz.variations import NOMINAL, VARIATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import hist
    from numpy.typing import NDArray

    from agc.inputs.columns import FloatArray

__all__ = [
    "MASS_HIGH",
    "MASS_LOW",
    "N_BINS",
    "OBSERVABLE",
    "REGION",
    "data_only",
    "empty_histogram",
    "event_weight",
    "histogram_of",
    "mass_sums",
    "processes_of",
]

#: The one region of the task.
REGION = "Signal_region"
#: The axis label, with its unit.
OBSERVABLE = r"$m_{4\ell}$ [GeV]"
#: Regular binning of the four-lepton mass in GeV (AGC reference implementation).
N_BINS, MASS_LOW, MASS_HIGH = 34, 80.0, 250.0

#: Weights are rounded to multiples of 1 / this, so that double precision adds them
#: exactly, in any order, up to 5e8 in a bin.
_WEIGHT_STEPS = 2.0**24


def empty_histogram() -> hist.Hist[Any]:
    """Return the histogram without events.

    Returns
    -------
    hist.Hist
        Axes: ``observable`` (34 bins from 80 to 250 GeV, with under- and overflow),
        ``process`` (`DATA` and `PROCESSES`) and ``variation``. Storage: ``Weight``.
    """
    import hist

    return hist.Hist(
        hist.axis.Regular(
            N_BINS, MASS_LOW, MASS_HIGH, name="observable", label=OBSERVABLE
        ),
        hist.axis.StrCategory((DATA, *PROCESSES), name="process", label="Process"),
        hist.axis.StrCategory(VARIATIONS, name="variation", label="Variation"),
        storage=hist.storage.Weight(),
        label="Events",
    )


def event_weight(
    sample: Sample, sumw: float | None = None, *, lumi_pb: float = LUMI_PB
) -> float:
    """Return what an event's own weight is multiplied by.

    Parameters
    ----------
    sample
        A simulated sample, or collision data.
    sumw
        The sum of generated weights that the files stand for; by default that of the
        public files. Only a stand-in has another.
    lumi_pb
        Integrated luminosity in 1/pb to normalise to.

    Returns
    -------
    float
        L x cross-section / (sumw x red_eff), without unit; 1 for collision data.
    """
    if sample.is_data:
        return 1.0
    total = sample.sumw if sumw is None else sumw
    return lumi_pb * sample.xsec_pb / (total * sample.red_eff)


def mass_sums(
    mass: NDArray[np.float64], weight: FloatArray, *, is_data: bool
) -> NDArray[np.float64]:
    """Add up a chunk's weights by bin.

    Parameters
    ----------
    mass
        Four-lepton mass in GeV, shape (n,).
    weight
        Event weight before normalisation, shape (n,).
    is_data
        Whether to fill the nominal variation only.

    Returns
    -------
    numpy.ndarray of float64
        Shape (variations, bins + 2, 2): sums of weights and of their squares, with
        underflow first and overflow last. Chunks can be added in any order: the result
        is the same to the last bit.
    """
    import hist

    axis: Any = hist.axis.Regular(N_BINS, MASS_LOW, MASS_HIGH)
    sums = np.zeros((len(VARIATIONS), N_BINS + 2, 2))
    for row, factors in enumerate(VARIATIONS.values()):
        if is_data and row > 0:
            break
        bins = np.asarray(axis.index(mass * factors.mass)) + 1
        stepped = _stepped(weight * factors.weight)
        for column, values in enumerate((stepped, _stepped(stepped**2))):
            sums[row, :, column] = np.bincount(bins, values, minlength=N_BINS + 2)
    return sums


def histogram_of(
    sums: Mapping[str, NDArray[np.float64]],
    sumw: Mapping[str, float],
    *,
    lumi_pb: float = LUMI_PB,
) -> hist.Hist[Any]:
    """Normalise each dataset's sums and add them up by process.

    Parameters
    ----------
    sums
        By dataset, as `mass_sums` returns them.
    sumw
        By dataset, as for `event_weight`; those that are not in it have the public
        files' sum.
    lumi_pb
        Integrated luminosity in 1/pb to normalise to.

    Returns
    -------
    hist.Hist
        As `empty_histogram`, in events.
    """
    histogram = empty_histogram()
    view: Any = histogram.view(flow=True)
    for name in sorted(sums):
        sample = sample_named(name)
        weight = event_weight(sample, sumw.get(name), lumi_pb=lumi_pb)
        process = histogram.axes["process"].index(sample.process)
        for row, variation in enumerate(VARIATIONS):
            column = histogram.axes["variation"].index(variation)
            view["value"][:, process, column] += sums[name][row, :, 0] * weight
            view["variance"][:, process, column] += sums[name][row, :, 1] * weight**2
    return histogram


def processes_of(histogram: hist.Hist[Any]) -> tuple[str, ...]:
    """Return the simulated processes that a histogram has events of.

    Parameters
    ----------
    histogram
        As `histogram_of` returns it.

    Returns
    -------
    tuple of str
        Those of `PROCESSES`, in their order. The stand-in has no ``"Z_tt"``.
    """
    return tuple(
        process
        for process in PROCESSES
        if contents(spectrum(histogram, process, NOMINAL)).any()
    )


def _stepped(weight: FloatArray) -> NDArray[np.float64]:
    """Round to the nearest multiple of the weight step."""
    stepped: NDArray[np.float64] = (
        np.floor(weight * _WEIGHT_STEPS + 0.5) / _WEIGHT_STEPS
    )
    return stepped


def data_only(histogram: hist.Hist[Any]) -> hist.Hist[Any]:
    """Return a copy without the simulation.

    Parameters
    ----------
    histogram
        As `histogram_of` returns it.

    Returns
    -------
    hist.Hist
        The same axes; only `DATA` is filled.
    """
    import hist

    copy = empty_histogram()
    rows = (hist.loc(DATA), hist.loc(NOMINAL))
    observed: Any = histogram[:, *rows]
    copy[:, *rows] = observed.view(flow=True)
    return copy
