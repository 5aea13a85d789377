"""What the fit learned: pulls, impacts and correlations of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.model.fit import breakdown, estimate, ranking, signal_test

if TYPE_CHECKING:
    from cabinetry.fit.results_containers import FitResults
    from matplotlib.figure import Figure

    from agc.inputs.config import Config
    from agc.model.fit import Fit

__all__ = [
    "LEAST_P",
    "plot_correlations",
    "plot_pulls",
    "plot_ranking",
    "result_text",
    "signal_row",
]

#: A model with a goodness of fit below this does not describe the data: what follows
#: from it about a signal is not quoted.
LEAST_P = 0.05


def result_text(results: FitResults, poi: str) -> str:
    """Return a parameter, and what its uncertainty is made of, in two lines."""
    fitted = estimate(results, poi)
    parts = ", ".join(f"{n} {v:.3f}" for n, v in breakdown(results, poi).items())
    return f"{poi} = {fitted.value:.3f} ± {fitted.uncertainty:.3f}\nof which {parts}"


def signal_row(workspace: dict[str, Any], fit: Fit) -> dict[str, str]:
    """Return a row of a table: signal, goodness of fit, significance, upper limit.

    Below `LEAST_P` the last two are not computed; the row says so in their place.
    """
    p = fit.results.goodness_of_fit
    row = {
        fit.prefit.model.config.poi_name: f"{fit.poi.value:.2f} ± "
        f"{fit.poi.uncertainty:.2f}",
        "goodness of fit": f"p = {p:.2g}",
    }
    if p < LEAST_P:
        none = f"not quoted: p < {LEAST_P:g}, a bad model"
        return row | dict.fromkeys(("significance", "95 % CL upper limit"), none)
    found = signal_test(workspace, fit)
    expected = f"({found.expected_significance:.1f} expected)"
    return row | {
        "significance": f"{found.significance:.1f} {expected}",
        "95 % CL upper limit": f"{found.upper_limit:.2f} (CLs(1) = {found.cls:.2f})",
    }


def plot_pulls(results: FitResults, config: Config, *, label: str) -> Figure:
    """Draw the fitted systematics in units of their uncertainty before the fit.

    The systematic that matters most for the parameter of interest is above. The
    parameters of the simulation's statistics, one for each bin, are left out.
    """
    from cabinetry.visualize import plot_result

    def draw() -> Figure:
        bestfit, uncertainty, names, *_ = ranking(results, config.poi)
        figure: Figure = plot_result.pulls(bestfit, uncertainty, names)
        reach = max(3.0, 1.1 * float(np.max(np.abs(bestfit) + uncertainty)))
        figure.axes[0].set_xlim(-reach, reach)
        return figure

    return _titled(draw, f"{label}\n{result_text(results, config.poi)}")


def plot_ranking(results: FitResults, config: Config, *, label: str) -> Figure:
    """Draw what each systematic does to the parameter of interest, and its pull."""
    import cabinetry

    def draw() -> Figure:
        figure: Figure = cabinetry.visualize.ranking(
            ranking(results, config.poi), save_figure=False, close_figure=False
        )
        figure.axes[1].set_xlabel(f"Change of {config.poi}")
        # its legend is where the title goes
        (legend,) = figure.legends
        handles = [h for h in legend.legend_handles if h is not None]
        texts = [text.get_text() for text in legend.texts]
        legend.remove()
        figure.set_layout_engine("constrained", rect=(0, 0, 1, 1))
        figure.legend(handles, texts, loc="outside lower center", ncols=2)
        return figure

    return _titled(draw, f"{label}\n{result_text(results, config.poi)}")


def plot_correlations(results: FitResults, config: Config, *, label: str) -> Figure:
    """Draw the correlations between the parameter of interest and the systematics."""
    from cabinetry.visualize import plot_result

    names = [config.poi, *ranking(results, config.poi).labels]
    rows = [results.labels.index(name) for name in names]
    matrix = np.asarray(results.corr_mat)[np.ix_(rows, rows)]
    return _titled(lambda: plot_result.correlation_matrix(matrix, names), label)


def _titled(draw: Callable[[], Figure], title: str) -> Figure:
    """Draw with cabinetry, whose style leaves with the block, and write above it."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    with mpl.rc_context():
        figure = draw()
        plt.close(figure)  # or a notebook would show it twice
        figure.suptitle(title, x=0.02, ha="left", fontsize="medium")
    return figure
