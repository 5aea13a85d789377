"""What every figure of the analysis shares: style, colours, labels, saving, showing."""

from __future__ import annotations

import base64
import contextlib
import html
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agc.hists.io import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "DOWN_COLOUR",
    "UP_COLOUR",
    "add_label",
    "save_figure",
    "show_figure",
    "styled",
]

#: The colours of variations upwards and downwards, from the sequence for colour-blind
#: readers of M. Petroff, arXiv:2107.02270.
UP_COLOUR, DOWN_COLOUR = "#e42536", "#5790fc"

#: mplhep's styles are drawn for a 10-inch slide; these sizes suit a notebook.
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
    "lines.markersize": 5,
    "legend.fontsize": 12,
    "hatch.linewidth": 0.6,
    "figure.dpi": 100,
}


@contextlib.contextmanager
def styled(experiment: Literal["ATLAS", "CMS"] = "CMS") -> Iterator[None]:
    """Draw in an experiment's style at notebook size; the caller's style comes back."""
    import matplotlib as mpl
    import mplhep

    # matplotlib's stubs list every name there is; mplhep's style has no types.
    style: Any = {**getattr(mplhep.style, experiment), **_SIZES}
    with mpl.rc_context(style):
        yield


def add_label(axes: Axes, label: str, *, lumi_pb: float | None = None) -> None:
    """Write above a panel whose events these are, and the luminosity at 13 TeV."""
    axes.set_title(label, loc="left", fontsize="medium", style="italic", pad=6)
    if lumi_pb is not None:
        text = f"{lumi_pb / 1000:.1f} fb$^{{-1}}$ (13 TeV)"
        axes.set_title(text, loc="right", fontsize="medium", pad=6)


def save_figure(figure: Figure, path: Path, **options: Any) -> tuple[Path, Path]:  # noqa: ANN401 - matplotlib's
    """Write a figure as PNG and PDF; a path has no suffix, missing folders are made."""
    png, pdf = (path.with_name(f"{path.name}.{kind}") for kind in ("png", "pdf"))
    _lay_out(figure)
    with whole(png) as partial:
        figure.savefig(partial, **{"dpi": 150, **options})
    # A date in the file would make every run differ.
    with whole(pdf) as partial:
        figure.savefig(partial, **{**options, "metadata": {"CreationDate": None}})
    return png, pdf


def _lay_out(figure: Figure) -> None:
    """Place a figure's parts once: each file would do it again, twice as long."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine(None)


def show_figure(figure: Figure, path: Path | None, alt: str) -> None:
    """Display a figure in the notebook; with a path, write it as `save_figure` does.

    ``alt`` says in words what there is to see: screen readers read it.
    """
    from IPython.display import HTML, display

    if path is None:
        content = io.BytesIO()
        _lay_out(figure)
        figure.savefig(content, format="png", dpi=150)
        png = content.getvalue()
    else:
        png = save_figure(figure, path)[0].read_bytes()
    source = base64.b64encode(png).decode()
    width = round(figure.get_figwidth() * figure.dpi)
    # A plain figure, or IPython's Image, comes without its text in JupyterLab.
    image = (
        f'<img alt="{html.escape(alt)}" width="{width}" '
        f'src="data:image/png;base64,{source}">'
    )
    display(HTML(image))  # type: ignore[no-untyped-call]
