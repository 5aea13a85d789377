"""What is marked in plots of the four-lepton mass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agc.hists.spectra import contents
from agc.show.style import styled

if TYPE_CHECKING:
    import hist
    from matplotlib.figure import Figure

__all__ = ["mark_peaks"]

#: The Higgs boson's window and the right edge of the Z boson's peak, in GeV.
_HIGGS_WINDOW, _Z_EDGE = (120.0, 130.0), 95.0


def mark_peaks(figure: Figure, data: hist.Hist[Any]) -> Figure:
    """Name the two peaks of a plot of the four-lepton mass; return the figure."""
    main = figure.axes[0]
    low, high = _HIGGS_WINDOW
    for axes in figure.axes:
        axes.axvspan(low, high, color="#92dadd", alpha=0.25, linewidth=0, zorder=0)
    left = data.axes["observable"].edges[:-1]
    beside = (left >= low - 10) & (left < high + 10)
    with styled("ATLAS"):
        for text, x, y, align in (
            (r"$Z \to 4\ell$", _Z_EDGE + 2, 0.9 * contents(data).max(), "left"),
            (
                r"$H(125)$",
                (low + high) / 2,
                contents(data)[beside].max() + 6,
                "center",
            ),
        ):
            main.text(x, y, text, ha=align, va="bottom")
    return figure
