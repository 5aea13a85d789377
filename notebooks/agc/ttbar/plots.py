"""Stacked predictions with the pseudo-data: as reconstructed, and around the fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.build import REGIONS, Region
from agc.hists.spectra import contents, spectrum, variances
from agc.inputs.samples import PROCESS_LABELS, PROCESSES
from agc.inputs.variations import NOMINAL
from agc.show.stack import process_yields, stacked_figure
from agc.show.style import PROCESS_COLOURS
from agc.ttbar.features import FEATURES

if TYPE_CHECKING:
    import hist
    from cabinetry.model_utils import ModelPrediction
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["plot_observable", "plot_prediction"]

#: Where jets are assigned.
SIGNAL_REGION = REGIONS[-1].name


def plot_observable(
    histograms: dict[str, hist.Hist[Any]],
    data: dict[str, hist.Hist[Any]],
    region: str,
    *,
    label: str,
) -> Figure:
    """Draw the reconstructed observable of a region in the histograms' own binning.

    Parameters
    ----------
    histograms
        One for each region, with the axes ``observable``, ``process``, ``variation``.
    data
        The pseudo-data in the same binning, as `agc.model.pseudodata.pseudodata` makes
        them.
    region
        Which region: ``"4j1b"`` (H_T) or ``"4j2b"`` (the three-jet mass); or a feature
        of the jet assignment.
    label
        Whose events these are, written above the plot.

    Returns
    -------
    Figure
        The band is the statistical uncertainty of the simulation. The events beyond
        the last bin are not shown.

    Raises
    ------
    KeyError
        There is no such region.
    TypeError
        The histogram's storage keeps no variances.
    """
    nominal = {p: spectrum(histograms[region], p, NOMINAL) for p in PROCESSES}
    return _stacked(
        data[region],
        {p: contents(one) for p, one in nominal.items()},
        np.sqrt(np.sum([variances(one) for one in nominal.values()], axis=0)),
        described=_described(region),
        stage="Reconstructed",
        band="Stat. uncertainty",
        label=label,
    )


def plot_prediction(
    prediction: ModelPrediction,
    data: dict[str, hist.Hist[Any]],
    region: str,
    *,
    label: str,
) -> Figure:
    """Draw what the fit's model predicts in a region, before or after the fit.

    Parameters
    ----------
    prediction
        ``fit.prefit`` or ``fit.postfit`` of `agc.model.fit.fit_workspace`.
    data
        The pseudo-data in the binning of the fit.
    region
        Which region, or feature, of the model.
    label
        Whose events these are, written above the plot.

    Returns
    -------
    Figure
        The band is the model's total uncertainty; before the fit it does not contain
        the free ``ttbar_norm``.

    Raises
    ------
    ValueError
        The model has no such region.
    """
    yields, uncertainty = process_yields(prediction, region)
    return _stacked(
        data[region],
        yields,
        uncertainty,
        described=_described(region),
        stage=prediction.label.capitalize(),
        band="Uncertainty",
        label=label,
    )


def _described(name: str) -> Region:
    """Return a region, or a feature as the region of the events it is known of."""
    for region in REGIONS:
        if region.name == name:
            return region
    feature = next(f for f in FEATURES if f.name == name)
    return Region(SIGNAL_REGION, "jets assigned", feature.label)


def _stacked(
    data: hist.Hist[Any],
    yields: dict[str, NDArray[np.float64]],
    uncertainty: NDArray[np.float64],
    *,
    described: Region,
    stage: str,
    band: str,
    label: str,
) -> Figure:
    return stacked_figure(
        data.axes["observable"].edges,
        {PROCESS_LABELS[p]: yields[p] for p in reversed(PROCESSES)},
        uncertainty,
        contents(data),
        colours={PROCESS_LABELS[p]: c for p, c in PROCESS_COLOURS.items()},
        band=band,
        points="Pseudo-data",
        label=label,
        note=f"{described.name}: {described.title}\n{stage}",
        observable=described.observable,
    )
