"""What each systematic variation does to the prediction, all of them at one glance.

For one variation at a time there is ``cabinetry.visualize.templates``: it reads the
folder that `agc.model.workspace.build_workspace` can keep.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.spectra import contents, spectrum, variances
from agc.inputs.config import NOMINAL
from agc.show.style import DOWN_COLOUR, UP_COLOUR, styled

if TYPE_CHECKING:
    import hist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from agc.inputs.config import Config, Systematic

__all__ = ["plot_variations"]

_COLUMNS = 3
#: The largest change that the panels have room for.
_REACH = 0.7


def plot_variations(
    histogram: hist.Hist[Any],
    config: Config,
    name: str,
    *,
    process: str | None = None,
    label: str,
) -> Figure:
    """Draw the ratios to nominal of all systematics that act on a process.

    The process is the signal by default. There is a small panel for each systematic,
    all with the same axes; changes of more than 70 % leave the panel.
    """
    from matplotlib.figure import Figure

    process = process or config.signal
    acting = config.acting(process)
    axis = histogram.axes["observable"]
    columns = min(_COLUMNS, len(acting))
    rows = math.ceil(len(acting) / columns)
    with styled(config.experiment):
        figure = Figure(figsize=(8.6, 2.1 * rows + 1.5), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        panels: list[Axes] = list(grid.flat)
        reach = 0.05
        for i, (panel, systematic) in enumerate(zip(panels, acting, strict=False)):
            found = _draw(panel, histogram, systematic, process)
            reach = max(reach, 1.15 * float(np.nanmax(found, initial=0)))
            panel.set_title(systematic.label, fontsize="medium", pad=5)
            panel.minorticks_off()  # small panels, half of whose time they would take
            if i + columns >= len(acting):
                panel.set_xlabel(axis.label)
                panel.tick_params(labelbottom=True)
        panels[0].set_xlim(axis.edges[0], axis.edges[-1])
        panels[0].set_ylim(1 - min(reach, _REACH), 1 + min(reach, _REACH))
        for panel in panels[len(acting) :]:
            panel.set_visible(False)
        title = f"{config.titles[name]}, {config.processes[process].label}"
        figure.suptitle(f"{label}\n{title}", x=0.02, ha="left", fontsize="medium")
        figure.supylabel("Variation / nominal", fontsize="large")
        legend = {h.get_label(): h for p in panels for h in _handles(p)}
        figure.legend(
            legend.values(), legend.keys(), loc="outside lower center", ncols=4
        )
    return figure


def _handles(panel: Axes) -> list[Any]:
    return list(panel.get_legend_handles_labels()[0])


def _draw(
    axes: Axes, histogram: hist.Hist[Any], systematic: Systematic, process: str
) -> NDArray[np.float64]:
    """Draw one panel; return the changes. A missing variation downwards is mirrored."""
    import mplhep

    base = spectrum(histogram, process, NOMINAL)
    nominal = np.where(contents(base) > 0, contents(base), np.nan)
    up = contents(spectrum(histogram, process, systematic.up)) / nominal
    mirrored = systematic.down is None
    down = (
        2 - up
        if systematic.down is None
        else contents(spectrum(histogram, process, systematic.down)) / nominal
    )
    edges = histogram.axes["observable"].edges
    axes.axhline(1, color="black", linewidth=0.8, linestyle="--")
    relative = np.nan_to_num(np.sqrt(variances(base)) / nominal)
    axes.stairs(
        1 + relative,
        edges,
        baseline=1 - relative,
        fill=True,
        facecolor="none",
        edgecolor="#3c3c40",
        hatch="//////",
        linewidth=0,
        label="Stat. uncertainty",
    )
    mplhep.histplot(
        [up, down],
        edges,
        ax=axes,
        yerr=False,
        edges=False,
        color=[UP_COLOUR, DOWN_COLOUR],
        linestyle=["-", "--" if mirrored else "-"],
        label=["Up", "Down (mirrored)" if mirrored else "Down"],
    )
    changes: NDArray[np.float64] = np.abs(np.concatenate([up, down]) - 1)
    return changes
