from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import hist
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import StepPatch

from agc.hists.spectra import contents, spectrum
from agc.inputs.samples import PROCESS_LABELS, PROCESSES
from agc.inputs.variations import SYSTEMATICS, Systematic
from agc.model.fit import Fit
from agc.model.pseudodata import pseudodata
from agc.show.fit import plot_correlations, plot_pulls
from agc.show.style import PROCESS_COLOURS, save_figure
from agc.show.variations import plot_variation, plot_variations
from agc.ttbar.plots import plot_observable, plot_prediction

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Histograms = dict[str, hist.Hist[Any]]
LABEL = "Simulation by us, not CMS data"


def systematic(label: str) -> Systematic:
    return next(s for s in SYSTEMATICS if s.label == label)


def texts(figure: Figure) -> str:
    figure.draw_without_rendering()
    found = figure.findobj(mpl.text.Text)
    return "\n".join(text.get_text() for text in found)


@pytest.fixture(scope="session")
def figures(
    smooth_histograms: Histograms, templates: Histograms, data: Histograms, fit: Fit
) -> dict[str, Figure]:
    fine = pseudodata(smooth_histograms)
    scale = systematic("Jet energy scale")
    return {
        "observable": plot_observable(smooth_histograms, fine, "4j2b", label=LABEL),
        "prefit": plot_prediction(fit.prefit, data, "4j1b", label=LABEL),
        "postfit": plot_prediction(fit.postfit, data, "4j2b", label=LABEL),
        "variation": plot_variation(
            templates, "4j2b", scale, process="wjets", label=LABEL
        ),
        "variations": plot_variations(templates, "4j1b", label=LABEL),
        "pulls": plot_pulls(fit.results, label=LABEL),
        "correlations": plot_correlations(fit.results, label=LABEL),
    }


def test_every_figure_says_whose_events_these_are(figures: dict[str, Figure]) -> None:
    for figure in figures.values():
        assert LABEL in texts(figure)


def test_every_axis_of_an_observable_has_its_unit(figures: dict[str, Figure]) -> None:
    for name in ("observable", "postfit", "variation"):
        main, ratio = figures[name].axes
        assert ratio.get_xlabel() == r"$m_{bjj}$ [GeV]"
        assert main.get_ylabel().startswith("Events / ")
        assert main.get_ylabel().endswith(" GeV")


def test_drawing_leaves_pyplot_and_the_style_as_they_were(
    fit: Fit, data: Histograms
) -> None:
    mpl.get_backend()  # comparing settings would choose one
    before = mpl.rcParams.copy()
    plot_prediction(fit.postfit, data, "4j1b", label=LABEL)
    assert mpl.rcParams == before
    assert plt.get_fignums() == []


def test_the_stack_adds_up_and_the_legend_has_its_order(
    figures: dict[str, Figure], smooth_histograms: Histograms
) -> None:
    main, _ = figures["observable"].axes
    layers = [p for p in main.patches if isinstance(p, StepPatch) and not p.get_hatch()]
    assert len(layers) == len(PROCESSES)
    top = max(layers, key=lambda layer: layer.get_data().values.sum())
    total = sum(
        contents(spectrum(smooth_histograms["4j2b"], process, "nominal"))
        for process in PROCESSES
    )
    np.testing.assert_allclose(top.get_data().values, total)
    entries = [text.get_text() for text in main.get_legend().get_texts()]
    assert entries == [
        "Pseudo-data",
        "Stat. uncertainty",
        *(PROCESS_LABELS[process] for process in PROCESSES),
    ]


def test_processes_have_colours_of_their_own() -> None:
    assert len(set(PROCESS_COLOURS.values())) == len(PROCESSES)


def test_the_ratio_panel_shows_data_over_prediction(
    figures: dict[str, Figure], fit: Fit, data: Histograms
) -> None:
    _, ratio = figures["postfit"].axes
    (points,) = ratio.containers
    channel = fit.postfit.model.config.channels.index("4j2b")
    predicted = np.sum(fit.postfit.model_yields[channel], axis=0)
    drawn = points.lines[0].get_ydata()
    np.testing.assert_allclose(drawn, contents(data["4j2b"]) / predicted)
    low, high = ratio.get_ylim()
    assert low < drawn.min()
    assert drawn.max() < high


def test_a_bin_without_prediction_has_no_ratio_and_no_warning(
    smooth_histograms: Histograms,
) -> None:
    empty = {region: one.copy() for region, one in smooth_histograms.items()}
    empty["4j1b"].view()["value"][:5] = 0
    empty["4j1b"].view()["variance"][:5] = 0
    figure = plot_observable(empty, pseudodata(empty), "4j1b", label=LABEL)
    (points,) = figure.axes[1].containers
    assert np.isnan(points.lines[0].get_ydata()).sum() == 5


def test_a_mirrored_variation_is_drawn_as_such(figures: dict[str, Figure]) -> None:
    assert "Down (mirrored)" in texts(figures["variation"])


def test_a_two_sided_variation_is_drawn_with_both_its_sides(
    templates: Histograms,
) -> None:
    figure = plot_variation(
        templates, "4j1b", systematic("b-tag NP 1"), process="ttbar", label=LABEL
    )
    assert "mirrored" not in texts(figure)
    drawn = [p.get_data().values for p in figure.axes[0].patches]
    for name in ("btag_var_0_up", "btag_var_0_down"):
        expected = contents(spectrum(templates["4j1b"], "ttbar", name))
        assert any(np.allclose(values, expected) for values in drawn)


def test_a_systematic_that_does_not_act_on_a_process_is_refused(
    templates: Histograms,
) -> None:
    with pytest.raises(ValueError, match="'PS variation' does not act on 'wjets'"):
        plot_variation(
            templates, "4j1b", systematic("PS variation"), process="wjets", label=LABEL
        )


@pytest.mark.parametrize("process", PROCESSES)
def test_the_overview_has_one_panel_for_each_systematic(
    templates: Histograms, process: str
) -> None:
    figure = plot_variations(templates, "4j2b", process=process, label=LABEL)
    shown = [panel.get_title() for panel in figure.axes if panel.get_visible()]
    assert shown == [s.label for s in SYSTEMATICS if process in s.processes]


def test_pulls_show_each_systematic_and_write_the_cross_section(
    figures: dict[str, Figure], fit: Fit
) -> None:
    (axes,) = figures["pulls"].axes
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert sorted(shown) == sorted([*(s.label for s in SYSTEMATICS), "Luminosity"])
    (points,) = axes.containers
    expected = [fit.results.bestfit[fit.results.labels.index(name)] for name in shown]
    np.testing.assert_allclose(points.lines[0].get_xdata(), expected)
    assert f"{fit.ttbar_norm.value:.3f}" in texts(figures["pulls"])


def test_a_cross_section_without_a_scan_is_written_symmetrically(fit: Fit) -> None:
    figure = plot_pulls(fit.results._replace(minos_uncertainty={}), label=LABEL)
    assert rf"\pm {fit.ttbar_norm.uncertainty:.3f}" in texts(figure)


def test_correlations_are_those_of_the_fit(
    figures: dict[str, Figure], fit: Fit
) -> None:
    axes = figures["correlations"].axes[0]
    shown = [label.get_text() for label in axes.get_yticklabels()]
    assert "ttbar_norm" in shown
    rows = [fit.results.labels.index(name) for name in shown]
    drawn = axes.images[0].get_array()
    np.testing.assert_allclose(drawn, 100 * fit.results.corr_mat[np.ix_(rows, rows)])


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
