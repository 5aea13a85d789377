from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import hist
import IPython.display
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from agc.hists.spectra import contents, spectrum, variances
from agc.inputs.config import Config
from agc.inputs.samples import PROCESS_LABELS, PROCESSES
from agc.inputs.variations import SYSTEMATICS
from agc.model.fit import Fit
from agc.model.pseudodata import pseudodata
from agc.show.fit import plot_correlations, plot_pulls, plot_ranking
from agc.show.stack import plot_observable, plot_prediction
from agc.show.style import save_figure, show_figure
from agc.show.variations import plot_variations

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Histograms = dict[str, hist.Hist[Any]]
LABEL = "Simulation by us, not CMS data"


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    found = figure.findobj(mpl.text.Text)
    return "\n".join(text.get_text() for text in found)


@pytest.fixture(scope="session")
def figures(
    smooth_histograms: Histograms, data: Histograms, fit: Fit, config: Config
) -> dict[str, Figure]:
    fine = pseudodata(smooth_histograms)["4j2b"]
    signal = smooth_histograms["4j2b"]
    return {
        "observable": plot_observable(signal, fine, config, "4j2b", label=LABEL),
        "prefit": plot_prediction(
            fit.prefit, data["4j1b"], config, "4j1b", label=LABEL
        ),
        "postfit": plot_prediction(
            fit.postfit, data["4j2b"], config, "4j2b", label=LABEL
        ),
        "variations": plot_variations(signal, config, "4j2b", label=LABEL),
        "pulls": plot_pulls(fit.results, config, label=LABEL),
        "ranking": plot_ranking(fit.results, config, label=LABEL),
        "correlations": plot_correlations(fit.results, config, label=LABEL),
    }


def test_every_figure_says_whose_events_these_are(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        assert LABEL in texts(figure)


def test_every_axis_of_an_observable_has_its_unit(figures: dict[str, Figure]) -> None:
    for name in ("observable", "postfit"):
        main, ratio = figures[name].axes
        assert ratio.get_xlabel() == r"$m_{bjj}$ [GeV]"
        assert main.get_ylabel().startswith("Events / ")
        assert main.get_ylabel().endswith(" GeV")
        assert any(label.get_text() for label in ratio.get_xticklabels())


def test_pseudo_data_are_never_called_data(figures: dict[str, Figure]) -> None:
    for name, stage in (("observable", "Pre-fit"), ("postfit", "Post-fit")):
        _, ratio = figures[name].axes
        assert ratio.get_ylabel() == "Pseudo-data / pred."
        assert stage in texts(figures[name])


def test_drawing_leaves_pyplot_and_the_style_as_they_were(
    fit: Fit, data: Histograms, config: Config
) -> None:
    mpl.get_backend()  # comparing settings would choose one
    before = mpl.rcParams.copy()
    plot_prediction(fit.postfit, data["4j1b"], config, "4j1b", label=LABEL)
    plot_ranking(fit.results, config, label=LABEL)
    assert mpl.rcParams == before
    assert plt.get_fignums() == []


def test_the_legend_has_the_order_of_the_stack(figures: dict[str, Figure]) -> None:
    main, _ = figures["observable"].axes
    entries = [text.get_text() for text in main.get_legend().get_texts()]
    assert entries == [
        "Pseudo-data",
        *(PROCESS_LABELS[process] for process in PROCESSES),
        "Stat. uncertainty",
    ]


def test_processes_have_colours_of_their_own(config: Config) -> None:
    assert len({p.colour for p in config.processes.values()}) == len(PROCESSES)


def test_the_ratio_panel_shows_data_over_prediction_with_its_events_errors(
    figures: dict[str, Figure], fit: Fit, data: Histograms
) -> None:
    _, ratio = figures["postfit"].axes
    points = ratio.containers[0]
    channel = fit.postfit.model.config.channels.index("4j2b")
    predicted = np.sum(fit.postfit.model_yields[channel], axis=0)
    drawn = points.lines[0].get_ydata()
    np.testing.assert_allclose(drawn, contents(data["4j2b"]) / predicted)
    low, high = ratio.get_ylim()
    assert low < drawn.min()
    assert drawn.max() < high
    (bars,) = points.lines[2]
    lengths = [np.ptp(segment[:, 1]) / 2 for segment in bars.get_segments()]
    expected = np.sqrt(variances(data["4j2b"])) / predicted
    np.testing.assert_allclose(lengths, expected)


def test_a_bin_without_prediction_has_no_ratio_and_no_warning(
    smooth_histograms: Histograms, config: Config
) -> None:
    empty = {region: one.copy() for region, one in smooth_histograms.items()}
    empty["4j1b"].view()["value"][:5] = 0
    empty["4j1b"].view()["variance"][:5] = 0
    made = pseudodata(empty)["4j1b"]
    figure = plot_observable(empty["4j1b"], made, config, "4j1b", label=LABEL)
    drawn = figure.axes[1].containers[0].lines[0].get_ydata()
    assert np.isfinite(drawn).sum() == 20


def test_a_point_beyond_the_ratios_axis_is_marked(
    smooth_histograms: Histograms, config: Config
) -> None:
    made = pseudodata(smooth_histograms)["4j1b"]
    made.view()["value"][7] *= 4
    figure = plot_observable(
        smooth_histograms["4j1b"], made, config, "4j1b", label=LABEL
    )
    ratio = figure.axes[1]
    marks = [line for line in ratio.lines if line.get_marker() == "^"]
    assert [line.get_xdata().tolist() for line in marks] == [[200.0]]
    assert ratio.get_ylim()[0] < marks[0].get_ydata()[0] < ratio.get_ylim()[1]


def test_no_point_is_half_outside_the_ratios_axis(
    smooth_histograms: Histograms, config: Config
) -> None:
    made = pseudodata(smooth_histograms)["4j1b"]
    for _ in range(2):  # the second time with a point where the edge was
        figure = plot_observable(
            smooth_histograms["4j1b"], made, config, "4j1b", label=LABEL
        )
        ratio = figure.axes[1]
        drawn = ratio.containers[0].lines[0].get_ydata()
        low, high = ratio.get_ylim()
        assert np.abs(drawn - high).min() > 0.02 * (high - low)
        made.view()["value"][7] *= high / drawn[7]


@pytest.mark.parametrize("process", PROCESSES)
def test_the_overview_has_one_panel_for_each_systematic(
    templates: Histograms, config: Config, process: str
) -> None:
    figure = plot_variations(
        templates["4j2b"], config, "4j2b", process=process, label=LABEL
    )
    shown = [panel.get_title() for panel in figure.axes if panel.get_visible()]
    assert shown == [s.label for s in SYSTEMATICS if process in s.processes]
    assert "Down (mirrored)" in texts(figure)


def test_a_variation_is_drawn_relative_to_nominal(
    figures: dict[str, Figure], smooth_histograms: Histograms
) -> None:
    axes = next(a for a in figures["variations"].axes if a.get_title() == "b-tag NP 1")
    nominal = contents(spectrum(smooth_histograms["4j2b"], "ttbar", "nominal"))
    drawn = [p.get_data().values for p in axes.patches]
    for name in ("btag_var_0_up", "btag_var_0_down"):
        varied = contents(spectrum(smooth_histograms["4j2b"], "ttbar", name))
        assert any(np.allclose(values, varied / nominal) for values in drawn)


def test_pulls_show_each_systematic_and_write_the_cross_section(
    figures: dict[str, Figure], fit: Fit
) -> None:
    for name in ("pulls", "ranking"):
        axes = figures[name].axes[0]
        shown = [label.get_text() for label in axes.get_yticklabels()]
        assert sorted(shown) == sorted([*(s.label for s in SYSTEMATICS), "Luminosity"])
        (points,) = axes.containers
        expected = [fit.results.bestfit[fit.results.labels.index(n)] for n in shown]
        np.testing.assert_allclose(points.lines[0].get_xdata(), expected)
        written = f"ttbar_norm = {fit.poi.value:.3f} ± {fit.poi.uncertainty:.3f}"
        assert written in texts(figures[name])


def test_correlations_are_those_of_the_fit(
    figures: dict[str, Figure], fit: Fit
) -> None:
    axes = figures["correlations"].axes[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert shown[0] == "ttbar_norm"
    rows = [fit.results.labels.index(name) for name in shown]
    drawn = axes.images[0].get_array()
    np.testing.assert_allclose(drawn, fit.results.corr_mat[np.ix_(rows, rows)])


def test_a_figure_is_saved_as_png_and_as_the_same_pdf_each_time(
    figures: dict[str, Figure], tmp_path: Path
) -> None:
    png, pdf = save_figure(figures["pulls"], tmp_path / "new" / "pulls.fit")
    assert png.name == "pulls.fit.png"
    assert png.read_bytes().startswith(b"\x89PNG")
    first = pdf.read_bytes()
    assert first.startswith(b"%PDF")
    save_figure(figures["pulls"], tmp_path / "new" / "pulls.fit")
    assert pdf.read_bytes() == first


def test_a_shown_figure_has_its_text_for_those_who_cannot_see_it(
    figures: dict[str, Figure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[IPython.display.HTML] = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    show_figure(figures["pulls"], tmp_path / "pulls", 'Pulls of "all" < 1')
    (image,) = shown
    assert 'alt="Pulls of &quot;all&quot; &lt; 1"' in image.data
    assert "data:image/png;base64,iVBOR" in image.data
    written = {tmp_path / "pulls.png", tmp_path / "pulls.pdf"}
    assert set(tmp_path.iterdir()) == written
    monkeypatch.chdir(tmp_path)
    show_figure(figures["pulls"], None, "Pulls")
    assert shown[1].data.count("iVBOR") == 1
    assert set(tmp_path.iterdir()) == written
