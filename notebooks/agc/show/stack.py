"""Stacked predictions with their uncertainty, observed points, and their ratio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.spectra import contents, processes_of, spectrum, variances
from agc.inputs.config import NOMINAL
from agc.show.style import add_label, styled

if TYPE_CHECKING:
    import hist
    import pandas as pd
    from cabinetry.model_utils import ModelPrediction
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from agc.inputs.config import Config

__all__ = ["plot_observable", "plot_prediction", "process_yields", "yields_table"]

#: The least and the largest reach of a ratio's axis to either side of one.
_REACH = (0.05, 2.0)
#: How far from the edge of a ratio's axis a point is whole, in reaches.
_EDGE = 0.06


def plot_observable(
    histogram: hist.Hist[Any],
    data: hist.Hist[Any],
    config: Config,
    name: str,
    *,
    label: str,
) -> Figure:
    """Draw data on the prediction before the fit, in the histogram's own bins.

    ``data`` has the same bins; ``config.titles[name]`` describes the events, ``label``
    says whose they are. The band is the statistical uncertainty of the simulation; the
    points have the errors of their events, or Poisson intervals if these were counted.
    """
    nominal = {
        p: spectrum(histogram, p, NOMINAL)
        for p in processes_of(histogram, list(config.processes))
    }
    return _drawn(
        {p: contents(one) for p, one in nominal.items()},
        np.sqrt(np.sum([variances(one) for one in nominal.values()], axis=0)),
        data,
        config,
        note=f"{config.titles[name]}\nPre-fit",
        band="Stat. uncertainty",
        label=label,
    )


def plot_prediction(
    prediction: ModelPrediction,
    data: hist.Hist[Any],
    config: Config,
    name: str,
    *,
    label: str,
) -> Figure:
    """Draw data on what the fit's model predicts in a channel, with its uncertainty.

    Before the fit the band does not contain the free parameter of interest. The other
    parameters are those of `plot_observable`.
    """
    yields, uncertainty = process_yields(prediction, name)
    stage = {"pre-fit": "Pre-fit", "post-fit": "Post-fit"}.get(
        prediction.label, prediction.label
    )
    return _drawn(
        yields,
        uncertainty,
        data,
        config,
        note=f"{config.titles[name]}\n{stage}",
        band="Uncertainty",
        label=label,
    )


def process_yields(
    prediction: ModelPrediction, channel: str
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Return a model's yields in a channel by process, and the uncertainty of the sum.

    Raises
    ------
    ValueError
        The model has no such channel.
    """
    config = prediction.model.config
    at = config.channels.index(channel)
    yields = np.asarray(prediction.model_yields[at])
    by_process = dict(zip(config.samples, yields, strict=True))
    return by_process, np.asarray(prediction.total_stdev_model_bins[at][-1])


def yields_table(
    prediction: ModelPrediction, data: Mapping[str, hist.Hist[Any]], config: Config
) -> pd.DataFrame:
    """Return a model's yields in each channel, with their uncertainties, and the data.

    The data's error is that of their events' weights. Entries read ``1,234 ± 56``.
    """
    import pandas as pd

    model = prediction.model.config
    table: dict[str, dict[str, str]] = {}
    for at, channel in enumerate(model.channels):
        errors = prediction.total_stdev_model_channels[at]
        by_process = zip(
            model.samples, prediction.model_yields[at], errors, strict=False
        )
        rows = {config.processes[p].label: (np.sum(y), e) for p, y, e in by_process}
        rows["Total prediction"] = np.sum(prediction.model_yields[at]), errors[-1]
        observed = data[channel]
        error = np.sqrt(variances(observed).sum())
        rows[config.points] = contents(observed).sum(), error
        table[channel] = {name: f"{n:,.0f} ± {e:,.0f}" for name, (n, e) in rows.items()}
    return pd.DataFrame(table)


def _drawn(
    yields: Mapping[str, NDArray[np.float64]],
    uncertainty: NDArray[np.float64],
    data: hist.Hist[Any],
    config: Config,
    *,
    note: str,
    band: str,
    label: str,
) -> Figure:
    import hist
    import mplhep
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class Measuring(FigureCanvasAgg):
        """Measures texts. mplhep draws a figure first, twice: half of the time."""

        def draw(self) -> None:
            for axes in self.figure.axes:
                axes.get_ylim()  # settles the limits, as drawing does

    axis = data.axes["observable"]
    # The smallest below; the band is that of the sum, so one layer brings all of it.
    names = [p for p in reversed(config.processes) if p in yields]
    layers = []
    for i, process in enumerate(names):
        layer = hist.Hist(
            hist.axis.Variable(axis.edges, flow=False), storage=hist.storage.Weight()
        )
        layer.view()["value"] = yields[process]
        layer.view()["variance"] = uncertainty**2 if i == 0 else 0.0
        layers.append(layer)
    total = np.sum([contents(layer) for layer in layers], axis=0)
    counted = np.array_equal(contents(data), variances(data))
    with styled(config.experiment), np.errstate(divide="ignore", invalid="ignore"):
        figure = Figure(figsize=(7.0, 6.2))
        Measuring(figure)  # without a layout yet
        main, ratio = figure.subplots(2, 1, gridspec_kw={"height_ratios": (3.2, 1)})
        points = layers[0].copy()
        # an empty bin has no point, as usual in the field
        points.view()["value"] = np.where(contents(data) > 0, contents(data), np.nan)
        points.view()["variance"] = variances(data)
        mplhep.comp.data_model(
            points,
            stacked_components=layers,
            stacked_labels=[config.processes[p].label for p in names],
            stacked_colors=[config.processes[p].colour for p in names],
            xlabel=axis.label,
            ylabel=f"Events / {axis.edges[1] - axis.edges[0]:g}"
            + (" GeV" if "[GeV]" in axis.label else ""),
            data_label=config.points,
            model_uncertainty_label=band,
            data_w2method="poisson" if counted else "sqrt",
            fig=figure,
            ax_main=main,
            ax_comparison=ratio,
            flow="none",
            comparison_ylabel=f"{config.points} / pred.",
            comparison_ylim=(0, 2),
        )
        FigureCanvasAgg(figure)
        figure.set_layout_engine("constrained")
        for hatched in main.patches:
            if hatched.get_hatch():  # mplhep's hides the colours below it
                hatched.set(alpha=1, facecolor="none", edgecolor="#3c3c40")
        handles, texts = main.get_legend_handles_labels()
        order = sorted(range(len(texts)), key=lambda i: _place(texts[i], config, band))
        main.legend([handles[i] for i in order], [texts[i] for i in order])
        add_label(main, label, lumi_pb=config.lumi_pb)
        main.text(0.04, 0.95, note, transform=main.transAxes, va="top", linespacing=1.5)
        tops = total + uncertainty, contents(data) + np.sqrt(variances(data))
        # room for the lines of the note, whatever is below them
        main.set_ylim(0, (1.36 + 0.1 * note.count("\n")) * np.max(tops))
        ratio.yaxis.label.set_size("small")
        _scale_ratio(
            ratio,
            axis.centers,
            contents(points) / total,
            uncertainty / total,
            np.sqrt(variances(data)) / total,
        )
    return figure


def _place(text: str, config: Config, band: str) -> int:
    """Return the place in the legend: points, the stack from its top, the band."""
    names = [config.points, *(p.label for p in config.processes.values()), band]
    return names.index(text)


def _scale_ratio(
    axes: Axes,
    centres: NDArray[np.float64],
    ratio: NDArray[np.float64],
    *relative: NDArray[np.float64],
) -> None:
    """Choose an axis that shows the uncertainties and most points; mark the others."""
    there = np.isfinite(ratio)
    changes = np.concatenate([[0.0], np.abs(ratio[there] - 1)])
    typical = [np.median(one[there]) for one in relative if there.any()]
    reach = np.clip(1.3 * max(np.quantile(changes, 0.95), *typical, 0.0), *_REACH)
    while np.any(np.abs(changes / reach - 1) < _EDGE):  # a point on the edge
        reach *= 1.1
    low, high = max(1 - reach, 0.0), 1 + reach
    axes.set_ylim(low, high)
    for outside, mark, at in (
        (ratio > high, "^", high - _EDGE * (high - low)),
        (ratio < low, "v", low + _EDGE * (high - low)),
    ):
        axes.plot(centres[outside], np.full(outside.sum(), at), mark, color="black")
