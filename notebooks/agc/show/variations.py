"""What each systematic variation does to the prediction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.build import REGIONS, Region
from agc.hists.spectra import contents, spectrum, variances
from agc.inputs.samples import PROCESS_LABELS
from agc.inputs.variations import NOMINAL, SYSTEMATICS, Systematic
from agc.show.style import (
    DOWN_COLOUR,
    UP_COLOUR,
    add_band,
    add_label,
    ratio_figure,
    styled,
)

if TYPE_CHECKING:
    import hist
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["plot_variation", "plot_variations"]

_COLUMNS = 3
#: The largest change that the overview has room for.
_REACH = 0.7


def plot_variation(
    histograms: dict[str, hist.Hist[Any]],
    region: str,
    systematic: Systematic,
    *,
    process: str,
    label: str,
) -> Figure:
    """Draw one process with one systematic at its nominal, upward and downward value.

    Parameters
    ----------
    histograms
        One for each region, in the binning that is to be shown.
    region
        Which region.
    systematic
        An entry of `agc.inputs.variations.SYSTEMATICS`.
    process
        One of the processes that the systematic acts on.
    label
        Whose events these are, written above the plot.

    Returns
    -------
    Figure
        Yields above, ratios to nominal below, with the nominal statistical uncertainty
        as a band. A mirrored downward variation is dashed.

    Raises
    ------
    ValueError
        The systematic does not act on that process.
    """
    if process not in systematic.processes:
        msg = (
            f"{systematic.label!r} does not act on {process!r}: "
            f"it acts on {', '.join(systematic.processes)}"
        )
        raise ValueError(msg)
    described = _region(region)
    nominal, uncertainty, up, down = _shapes(histograms[region], systematic, process)
    edges = histograms[region].axes["observable"].edges
    mirrored = systematic.down is None
    with styled():
        figure, main, ratio = ratio_figure(size=(7.0, 5.6))
        main.stairs(nominal, edges, color="black", linewidth=1.4, label="Nominal")
        main.stairs(up, edges, color=UP_COLOUR, linewidth=1.6, label="Up")
        main.stairs(
            down,
            edges,
            color=DOWN_COLOUR,
            linewidth=1.6,
            linestyle="--" if mirrored else "-",
            label="Down (mirrored)" if mirrored else "Down",
        )
        add_band(main, edges, nominal, uncertainty, label="Stat. uncertainty")
        _draw_ratio(ratio, edges, (nominal, uncertainty, up, down), mirrored=mirrored)
        main.legend(title=f"{PROCESS_LABELS[process]}: {systematic.label}")
        main.text(
            0.04,
            0.95,
            f"{described.name}: {described.title}",
            transform=main.transAxes,
            va="top",
        )
        add_label(main, label)
        main.set_ylabel(f"Events / {edges[1] - edges[0]:g} GeV")
        main.set_ylim(0, 1.45 * max(up.max(), down.max(), nominal.max()))
        main.set_xlim(edges[0], edges[-1])
        ratio.set_ylabel("Var. / nom.", loc="center")
        ratio.set_xlabel(described.observable)
    return figure


def plot_variations(
    histograms: dict[str, hist.Hist[Any]],
    region: str,
    *,
    process: str = "ttbar",
    label: str,
) -> Figure:
    """Draw the ratios to nominal of all systematics that act on a process.

    Parameters
    ----------
    histograms
        One for each region, in the binning that is to be shown.
    region
        Which region.
    process
        One of `agc.inputs.samples.PROCESSES`.
    label
        Whose events these are, written above the plot.

    Returns
    -------
    Figure
        One small panel for each systematic, all with the same axes; changes of more
        than 70 % leave the panel.
    """
    from matplotlib.figure import Figure

    described = _region(region)
    acting = [s for s in SYSTEMATICS if process in s.processes]
    rows = math.ceil(len(acting) / _COLUMNS)
    edges = histograms[region].axes["observable"].edges
    with styled():
        figure = Figure(figsize=(8.6, 2.1 * rows + 1.3), layout="constrained")
        panels = list(
            figure.subplots(
                rows, _COLUMNS, sharex=True, sharey=True, squeeze=False
            ).flat
        )
        reach = 0.05
        for i, (panel, systematic) in enumerate(zip(panels, acting, strict=False)):
            shapes = _shapes(histograms[region], systematic, process)
            panel.axhline(1, color="black", linewidth=0.8, linestyle="--")
            _draw_ratio(panel, edges, shapes, mirrored=systematic.down is None)
            reach = max(reach, _largest_change(shapes))
            panel.set_title(systematic.label, fontsize="medium", pad=5)
            if i + _COLUMNS >= len(acting):
                panel.set_xlabel(described.observable)
                panel.tick_params(labelbottom=True)
        panels[0].set_xlim(edges[0], edges[-1])
        panels[0].set_ylim(1 - min(reach, _REACH), 1 + min(reach, _REACH))
        for panel in panels[len(acting) :]:
            panel.set_visible(False)
        figure.suptitle(
            f"{described.name}: {described.title}, {PROCESS_LABELS[process]}",
            x=0.02,
            ha="left",
            fontsize="large",
        )
        figure.text(0.99, 0.992, label, ha="right", va="top", style="italic")
        figure.supylabel("Variation / nominal", fontsize="large")
        figure.legend(*_legend(), loc="outside lower center", ncols=4)
    return figure


def _legend() -> tuple[list[Artist], list[str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Line2D([], [], color=UP_COLOUR),
        Line2D([], [], color=DOWN_COLOUR),
        Line2D([], [], color=DOWN_COLOUR, linestyle="--"),
        Patch(facecolor="none", edgecolor="#3c3c40", hatch="//////", linewidth=0),
    ], ["Up", "Down", "Down (mirrored)", "Stat. uncertainty"]


def _region(name: str) -> Region:
    return next(r for r in REGIONS if r.name == name)


def _shapes(
    histogram: hist.Hist[Any], systematic: Systematic, process: str
) -> tuple[NDArray[np.float64], ...]:
    """Return nominal, its uncertainty, up and down; a missing down is mirrored."""
    base = spectrum(histogram, process, NOMINAL)
    nominal = contents(base)
    up = contents(spectrum(histogram, process, systematic.up))
    down = (
        2 * nominal - up
        if systematic.down is None
        else contents(spectrum(histogram, process, systematic.down))
    )
    return nominal, np.sqrt(variances(base)), up, down


def _largest_change(shapes: tuple[NDArray[np.float64], ...]) -> float:
    nominal, _, up, down = shapes
    filled = nominal > 0
    ratios = np.concatenate([up[filled], down[filled]]) / np.tile(nominal[filled], 2)
    return 1.15 * float(np.max(np.abs(ratios - 1), initial=0.0))


def _draw_ratio(
    axes: Axes,
    edges: NDArray[np.float64],
    shapes: tuple[NDArray[np.float64], ...],
    *,
    mirrored: bool,
) -> None:
    nominal, uncertainty, up, down = shapes
    base = np.where(nominal > 0, nominal, np.nan)
    add_band(axes, edges, np.ones_like(nominal), np.nan_to_num(uncertainty / base))
    axes.stairs(up / base, edges, color=UP_COLOUR, linewidth=1.5, baseline=None)
    axes.stairs(
        down / base,
        edges,
        color=DOWN_COLOUR,
        linewidth=1.5,
        linestyle="--" if mirrored else "-",
        baseline=None,
    )
