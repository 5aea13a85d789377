"""What the fit learned: pulls and correlations of its parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agc.model.fit import estimate
from agc.model.workspace import POI
from agc.show.style import add_label, styled

if TYPE_CHECKING:
    from cabinetry.fit.results_containers import FitResults
    from matplotlib.figure import Figure

__all__ = ["plot_correlations", "plot_pulls"]

#: From this correlation on, in per cent, the colour is too dark for black text.
_DARK = 60


def plot_pulls(results: FitResults, *, label: str, poi: str = POI) -> Figure:
    """Draw the fitted nuisance parameters in units of their prior uncertainty.

    Parameters
    ----------
    results
        Of a fit, as cabinetry returns them.
    label
        Whose events these are, written above the plot.
    poi
        The parameter of interest.

    Returns
    -------
    Figure
        One row for each systematic, one and two prior standard deviations as bands.
        The parameter of interest, which has no prior, is written above. Parameters of
        the simulation's statistics (one for each bin) are left out.
    """
    from matplotlib.figure import Figure

    rows = _systematics(results, poi, and_poi=False)
    positions = np.arange(len(rows))
    norm = estimate(results, poi)
    errors = (
        rf"^{{+{norm.up:.3f}}}_{{-{norm.down:.3f}}}"
        if poi in results.minos_uncertainty
        else rf"\pm {norm.uncertainty:.3f}"
    )
    with styled():
        figure = Figure(figsize=(7.0, 1.6 + 0.36 * len(rows)), layout="constrained")
        axes = figure.subplots()
        axes.axvspan(-2, 2, color="#f2f2f2", linewidth=0)
        axes.axvspan(-1, 1, color="#dcdcde", linewidth=0)
        axes.axvline(0, color="black", linewidth=0.8, linestyle="--")
        axes.errorbar(
            results.bestfit[rows],
            positions,
            xerr=results.uncertainty[rows],
            fmt="o",
            color="black",
            markersize=5,
        )
        axes.set_yticks(positions, [results.labels[i] for i in rows])
        axes.tick_params(axis="y", which="both", length=0)
        axes.minorticks_off()
        axes.set_ylim(len(rows) - 0.4, -0.6)
        reach = float(np.max(np.abs(results.bestfit[rows]) + results.uncertainty[rows]))
        axes.set_xlim(-max(2.2, 1.05 * reach), max(2.2, 1.05 * reach))
        axes.set_xlabel(r"$(\hat{\theta} - \theta_0) / \Delta\theta$")
        # A line of its own: beside the result there is no room for a long label.
        figure.suptitle(label, x=0.02, ha="left", fontsize="medium", style="italic")
        axes.set_title(
            f"{poi} $= {norm.value:.3f} {errors}$",
            loc="right",
            fontsize="medium",
            pad=6,
        )
    return figure


def plot_correlations(results: FitResults, *, label: str, poi: str = POI) -> Figure:
    """Draw the correlations between the systematics and the parameter of interest.

    Parameters
    ----------
    results
        Of a fit, as cabinetry returns them.
    label
        Whose events these are, written above the plot.
    poi
        The parameter of interest.

    Returns
    -------
    Figure
        The matrix in per cent; red is positive, blue is negative. Parameters of the
        simulation's statistics are left out.
    """
    from matplotlib.figure import Figure

    shown = _systematics(results, poi, and_poi=True)
    names = [results.labels[i] for i in shown]
    matrix = np.asarray(results.corr_mat)[np.ix_(shown, shown)]
    with styled():
        figure = Figure(figsize=(7.6, 6.6), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(100 * matrix, vmin=-100, vmax=100, cmap="RdBu_r")
        ticks = np.arange(len(shown))
        axes.set_xticks(ticks, names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, names)
        axes.tick_params(which="both", length=0)
        axes.minorticks_off()
        for row, column in np.ndindex(matrix.shape):
            percent = round(100 * float(matrix[row, column]))
            axes.text(
                column,
                row,
                f"{percent:d}",
                ha="center",
                va="center",
                fontsize="x-small",
                color="white" if abs(percent) > _DARK else "black",
            )
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        bar.set_label("Correlation [%]")
        add_label(axes, label, with_lumi=False)
    return figure


def _systematics(results: FitResults, poi: str, *, and_poi: bool) -> list[int]:
    return [
        i
        for i, name in enumerate(results.labels)
        if not name.startswith("staterror") and (and_poi or name != poi)
    ]
