"""A stacked prediction with its uncertainty, observed points, and their ratio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from agc.inputs.samples import LUMI_PB
from agc.show.style import (
    add_band,
    add_label,
    add_points,
    add_stack,
    ratio_figure,
    styled,
)

if TYPE_CHECKING:
    from cabinetry.model_utils import ModelPrediction
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["process_yields", "stacked_figure"]

_SIZE = (7.0, 6.2)


def process_yields(
    prediction: ModelPrediction, region: str
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Return what a fit's model predicts in a region.

    Parameters
    ----------
    prediction
        ``fit.prefit`` or ``fit.postfit`` of `agc.model.fit.fit_workspace`.
    region
        Which region of the model.

    Returns
    -------
    yields : dict of str to numpy.ndarray
        By process, in pyhf's order, which is alphabetical; shape (bins,).
    uncertainty : numpy.ndarray
        Of their sum, shape (bins,).

    Raises
    ------
    ValueError
        The model has no such region.
    """
    config = prediction.model.config
    channel = config.channels.index(region)
    yields = {
        process: np.asarray(prediction.model_yields[channel][i])
        for i, process in enumerate(config.samples)
    }
    return yields, np.asarray(prediction.total_stdev_model_bins[channel][-1])


def stacked_figure(
    edges: NDArray[np.float64],
    layers: dict[str, NDArray[np.float64]],
    uncertainty: NDArray[np.float64],
    observed: NDArray[np.float64],
    *,
    colours: dict[str, str],
    band: str,
    points: str,
    label: str,
    note: str,
    observable: str,
    errors: NDArray[np.float64] | None = None,
    experiment: Literal["ATLAS", "CMS"] = "CMS",
    lumi_pb: float = LUMI_PB,
) -> Figure:
    """Draw a prediction, what was observed, and the ratio of the two.

    Parameters
    ----------
    edges
        Bin edges in the observable's unit, shape (n + 1,), all bins of one width.
    layers
        Contents, shape (n,), from the bottom up; the key is the legend's entry.
    uncertainty
        Of the sum of the layers, shape (n,).
    observed
        Observed events, shape (n,).
    colours
        One for each layer.
    band, points
        The legend's entries for the uncertainty and for what was observed.
    label
        Whose events these are, written above the plot.
    note
        Lines in the upper left corner.
    observable
        The label of the x axis, with its unit.
    errors
        Uncertainties of the points, as `agc.show.style.add_points` takes them; by
        default the square roots.
    experiment
        Whose style.
    lumi_pb
        Integrated luminosity in 1/pb.

    Returns
    -------
    Figure
        The main panel, then that of the ratio.
    """
    errors = np.sqrt(observed) if errors is None else errors
    with styled(experiment):
        figure, main, ratio = ratio_figure(size=_SIZE)
        total = add_stack(main, edges, layers, colours=colours)
        add_band(main, edges, total, uncertainty, label=band)
        add_points(main, edges, observed, errors, label=points)
        handles, names = main.get_legend_handles_labels()
        # The points first, then the stack from its top to its bottom.
        main.legend(handles[::-1], names[::-1])
        add_label(main, label, lumi_pb=lumi_pb)
        main.text(0.04, 0.95, note, transform=main.transAxes, va="top", linespacing=1.5)
        width = float(edges[1] - edges[0])
        unit = " GeV" if "[GeV]" in observable else ""
        main.set_ylabel(f"Events / {width:g}{unit}")
        main.set_ylim(0, 1.5 * max(np.max(total + uncertainty), np.nanmax(observed)))
        main.set_xlim(edges[0], edges[-1])

        predicted = np.where(total > 0, total, np.nan)
        relative = uncertainty / predicted
        add_band(ratio, edges, np.ones_like(total), np.nan_to_num(relative))
        add_points(ratio, edges, observed / predicted, errors / predicted)
        reach = np.nanmax(
            np.concatenate([relative, np.abs(observed / predicted - 1), [0.12]])
        )
        reach = min(1.15 * reach, 0.98)
        ratio.set_ylim(1 - reach, 1 + reach)
        ratio.set_ylabel("Data / pred.", loc="center")
        ratio.set_xlabel(observable)
    return figure
