"""What every figure of the analysis shares: style, colours, labels, saving."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from agc.inputs.samples import LUMI_PB, PROCESSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = [
    "DOWN_COLOUR",
    "PROCESS_COLOURS",
    "UP_COLOUR",
    "add_band",
    "add_label",
    "add_points",
    "add_stack",
    "ratio_figure",
    "save_figure",
    "styled",
]

#: One colour for each process, told apart by colour-blind readers too: the six-colour
#: sequence of M. Petroff, arXiv:2107.02270, which CMS adopted.
PROCESS_COLOURS = dict(
    zip(
        PROCESSES,
        ("#e42536", "#5790fc", "#f89c20", "#964a8b", "#9c9ca1"),
        strict=True,
    )
)
#: The colours of variations upwards and downwards, from the same sequence.
UP_COLOUR, DOWN_COLOUR = "#e42536", "#5790fc"

#: mplhep's CMS style is drawn for a 10-inch slide; these sizes suit a notebook.
_SIZES: dict[str, Any] = {
    "font.family": ["TeX Gyre Heros", "DejaVu Sans"],
    "mathtext.fontset": "dejavusans",
    "mathtext.default": "it",
    "font.size": 13,
    "axes.labelsize": 14,
    "axes.linewidth": 1.1,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "xtick.major.size": 7,
    "xtick.minor.size": 3.5,
    "ytick.major.size": 7,
    "ytick.minor.size": 3.5,
    "legend.fontsize": 12,
    "hatch.linewidth": 0.6,
    "figure.dpi": 100,
}


@contextlib.contextmanager
def styled(experiment: Literal["ATLAS", "CMS"] = "CMS") -> Iterator[None]:
    """Draw in mplhep's style at notebook size; the caller's style comes back.

    Parameters
    ----------
    experiment
        Whose style.

    Yields
    ------
    None
        Nothing: the style holds for what is created inside.
    """
    import matplotlib as mpl
    import mplhep

    # matplotlib's stubs list every name there is; mplhep's style has no types.
    style: Any = {**getattr(mplhep.style, experiment), **_SIZES}
    with mpl.rc_context(style):
        yield


def ratio_figure(*, size: tuple[float, float]) -> tuple[Figure, Axes, Axes]:
    """Return a figure with a main panel and a ratio panel that share the x axis.

    Parameters
    ----------
    size
        Width and height in inches.

    Returns
    -------
    tuple of Figure, Axes, Axes
        The figure, which pyplot does not know, the main panel and the ratio panel.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.02, hspace=0.02)  # type: ignore[union-attr,call-arg]
    main, ratio = figure.subplots(
        2, 1, sharex=True, gridspec_kw={"height_ratios": (3.2, 1)}
    )
    ratio.axhline(1, color="black", linewidth=0.8, linestyle="--")
    return figure, main, ratio


def add_label(
    axes: Axes, label: str, *, with_lumi: bool = True, lumi_pb: float = LUMI_PB
) -> None:
    """Write above a panel whose events these are.

    Parameters
    ----------
    axes
        The panel.
    label
        The text on the left, for example "Simulation by us, not CMS data".
    with_lumi
        Whether luminosity and energy stand on the right.
    lumi_pb
        The luminosity in 1/pb.
    """
    axes.set_title(label, loc="left", fontsize="medium", style="italic", pad=6)
    if with_lumi:
        text = f"{lumi_pb / 1000:.1f} fb$^{{-1}}$ (13 TeV)"
        axes.set_title(text, loc="right", fontsize="medium", pad=6)


def add_stack(
    axes: Axes,
    edges: NDArray[np.float64],
    layers: dict[str, NDArray[np.float64]],
    *,
    colours: dict[str, str],
) -> NDArray[np.float64]:
    """Draw filled histograms on top of each other.

    Parameters
    ----------
    axes
        The panel.
    edges
        Bin edges, shape (n + 1,).
    layers
        Contents, shape (n,), from the bottom up; the key is the legend's entry.
    colours
        One for each layer.

    Returns
    -------
    numpy.ndarray
        The sum of all layers, shape (n,).
    """
    total: NDArray[np.float64] = np.zeros(len(edges) - 1)
    for name, contents in layers.items():
        axes.stairs(
            total + contents,
            edges,
            baseline=total,
            fill=True,
            facecolor=colours[name],
            edgecolor="black",
            linewidth=0.5,
            label=name,
        )
        total = total + contents
    return total


def add_band(
    axes: Axes,
    edges: NDArray[np.float64],
    centre: NDArray[np.float64],
    half_width: NDArray[np.float64],
    *,
    label: str | None = None,
) -> None:
    """Draw an uncertainty as a hatched band.

    Parameters
    ----------
    axes
        The panel.
    edges
        Bin edges, shape (n + 1,).
    centre, half_width
        The prediction and its uncertainty, shape (n,).
    label
        The legend's entry.
    """
    axes.stairs(
        centre + half_width,
        edges,
        baseline=centre - half_width,
        fill=True,
        facecolor="none",
        edgecolor="#3c3c40",
        hatch="//////",
        linewidth=0,
        label=label,
    )


def add_points(
    axes: Axes,
    edges: NDArray[np.float64],
    contents: NDArray[np.float64],
    uncertainty: NDArray[np.float64],
    *,
    label: str | None = None,
) -> None:
    """Draw observed yields as points with error bars.

    Parameters
    ----------
    axes
        The panel.
    edges
        Bin edges, shape (n + 1,).
    contents, uncertainty
        The yields and their uncertainties, shape (n,), or (2, n) for those downwards
        and upwards; NaN is not drawn.
    label
        The legend's entry.
    """
    axes.errorbar(
        (edges[:-1] + edges[1:]) / 2,
        contents,
        yerr=uncertainty,
        fmt="o",
        color="black",
        markersize=5,
        linewidth=1.2,
        label=label,
    )


def save_figure(figure: Figure, path: Path, **options: Any) -> tuple[Path, Path]:  # noqa: ANN401 - matplotlib's
    """Write a figure as PNG and as PDF.

    Parameters
    ----------
    figure
        Any figure.
    path
        Where to, without suffix; missing folders are created.
    **options
        More options of ``Figure.savefig``, for example ``dpi``.

    Returns
    -------
    tuple of Path
        The PNG and the PDF.

    Raises
    ------
    OSError
        The files cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    png, pdf = (path.with_name(f"{path.name}.{kind}") for kind in ("png", "pdf"))
    figure.savefig(png, **{"dpi": 150, **options})
    # A date in the file would make every run differ.
    figure.savefig(pdf, **{**options, "metadata": {"CreationDate": None}})
    return png, pdf
