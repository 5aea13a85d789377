"""The four-lepton mass as the field draws it: points on a stacked expectation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.spectra import contents, spectrum, variances
from agc.hzz.histograms import OBSERVABLE, REGION, processes_of
from agc.hzz.samples import DATA, LUMI_PB, PROCESS_COLOURS, PROCESS_LABELS, PROCESSES
from agc.hzz.variations import NOMINAL
from agc.show.stack import process_yields, stacked_figure
from agc.show.style import styled

if TYPE_CHECKING:
    import hist
    from cabinetry.model_utils import ModelPrediction
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from agc.hzz.files import Inputs

__all__ = ["garwood", "plot_mass", "plot_prediction"]

#: The Higgs boson's window and the right edge of the Z boson's peak, in GeV.
_HIGGS_WINDOW, _Z_EDGE = (120.0, 130.0), 95.0
#: The largest ratio that is shown.
_MAX_RATIO = 2.9


def garwood(observed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Poisson uncertainties of counts.

    Parameters
    ----------
    observed
        Numbers of events, shape (n,).

    Returns
    -------
    numpy.ndarray of float64
        Downwards and upwards, shape (2, n): the central 68.27 % interval of F. Garwood,
        Biometrika 28 (1936) 437, in which a bin of few events is not a square root.
    """
    from scipy.stats import chi2  # type: ignore[import-untyped]  # it has no types

    tail = 0.5 * (1 - 0.6826894921)
    low = np.where(observed > 0, chi2.ppf(tail, 2 * np.maximum(observed, 0.5)) / 2, 0)
    high = chi2.ppf(1 - tail, 2 * (observed + 1)) / 2
    return np.stack([observed - low, high - observed])


def plot_mass(histogram: hist.Hist[Any], inputs: Inputs) -> Figure:
    """Draw the four-lepton mass with the expectation as it was simulated.

    Parameters
    ----------
    histogram
        As `agc.hzz.histograms.histogram_of` returns it.
    inputs
        Whose events these are, which the plot says.

    Returns
    -------
    Figure
        The band is the statistical uncertainty of the simulation.
    """
    nominal = {p: spectrum(histogram, p, NOMINAL) for p in processes_of(histogram)}
    return _drawn(
        histogram,
        {p: contents(one) for p, one in nominal.items()},
        np.sqrt(np.sum([variances(one) for one in nominal.values()], axis=0)),
        inputs,
        band="Stat. uncertainty",
        stage="Expected",
    )


def plot_prediction(
    prediction: ModelPrediction, histogram: hist.Hist[Any], inputs: Inputs
) -> Figure:
    """Draw what the fit's model predicts, before or after the fit.

    Parameters
    ----------
    prediction
        ``fit.prefit`` or ``fit.postfit`` of `agc.model.fit.fit_workspace`.
    histogram
        Its data are drawn as points.
    inputs
        Whose events these are.

    Returns
    -------
    Figure
        The band is the model's total uncertainty.
    """
    yields, uncertainty = process_yields(prediction, REGION)
    return _drawn(
        histogram,
        yields,
        uncertainty,
        inputs,
        band="Uncertainty",
        stage=prediction.label.capitalize(),
    )


def _drawn(
    histogram: hist.Hist[Any],
    yields: dict[str, NDArray[np.float64]],
    uncertainty: NDArray[np.float64],
    inputs: Inputs,
    *,
    band: str,
    stage: str,
) -> Figure:
    observed = contents(spectrum(histogram, DATA, NOMINAL))
    # an empty bin has no point, as usual in the field
    points = np.where(observed > 0, observed, np.nan)
    title = r"$\mathbf{ATLAS}$ Open Data" if inputs.real_data else "Pseudo-data by Casa"
    figure = stacked_figure(
        histogram.axes["observable"].edges,
        {PROCESS_LABELS[p]: yields[p] for p in PROCESSES if p in yields},
        uncertainty,
        points,
        colours={PROCESS_LABELS[p]: c for p, c in PROCESS_COLOURS.items()},
        band=band,
        points="Data" if inputs.real_data else "Pseudo-data",
        label=inputs.label,
        note=f"{title}\n$H \\to ZZ^{{*}} \\to 4\\ell$\n{stage}",
        observable=OBSERVABLE,
        errors=garwood(observed),
        experiment="ATLAS",
        lumi_pb=LUMI_PB,
    )
    main, ratio = figure.axes
    with styled("ATLAS"):
        _mark(main, float(np.sum([yields[p][2] for p in yields])), observed)
    for axes in (main, ratio):
        axes.axvspan(*_HIGGS_WINDOW, color="#92dadd", alpha=0.25, linewidth=0, zorder=0)
    ratio.set_ylim(0, _MAX_RATIO)
    return figure


def _mark(main: Axes, peak: float, observed: NDArray[np.float64]) -> None:
    """Name the two peaks."""
    top = max(peak, float(observed[2]))
    main.annotate(
        r"$Z \to 4\ell$",
        (_Z_EDGE, 0.9 * top),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
    )
    low, high = _HIGGS_WINDOW
    main.annotate(
        r"$H(125)$",
        ((low + high) / 2, float(observed[8:10].max()) + 7),
        xytext=(0, 8),
        textcoords="offset points",
        ha="center",
    )
