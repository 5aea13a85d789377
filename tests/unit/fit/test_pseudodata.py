from __future__ import annotations

from typing import Any

import hist
import numpy as np
import pytest

from agc.hists.spectra import contents, spectrum, variances
from agc.inputs.config import Config
from agc.model.pseudodata import pseudodata
from agc.model.templates import (
    EmptyTemplateError,
    MirroredTemplateError,
    check_templates,
    fit_templates,
)
from support.histograms import empty_histograms

Histograms = dict[str, hist.Hist[Any]]


def copied(histograms: Histograms) -> Histograms:
    return {region: histogram.copy() for region, histogram in histograms.items()}


def fill(histogram: hist.Hist[Any], process: str, variation: str, value: float) -> None:
    histogram[:, hist.loc(process), hist.loc(variation)] = np.full(
        (*contents(spectrum(histogram, process, variation)).shape, 2), value
    )


def test_pseudodata_are_half_of_each_alternative_sample_plus_wjets(
    smooth_histograms: Histograms,
) -> None:
    for region, made in pseudodata(smooth_histograms).items():
        me, ps, wjets = (
            spectrum(smooth_histograms[region], process, variation)
            for process, variation in (
                ("ttbar", "ME_var"),
                ("ttbar", "PS_var"),
                ("wjets", "nominal"),
            )
        )
        expected = (contents(me) + contents(ps)) / 2 + contents(wjets)
        np.testing.assert_allclose(contents(made), expected)
        expected = (variances(me) + variances(ps)) / 4 + variances(wjets)
        np.testing.assert_allclose(variances(made), expected)


def test_pseudodata_and_rebinning_may_come_in_either_order(
    smooth_histograms: Histograms, config: Config
) -> None:
    rebinned = fit_templates(smooth_histograms, config)
    for region, made in pseudodata(rebinned).items():
        fine = contents(pseudodata(smooth_histograms)[region])
        np.testing.assert_allclose(contents(made), fine[3:].reshape(11, 2).sum(axis=1))


def test_the_fit_has_eleven_bins_from_110_to_550_gev_and_no_overflow(
    config: Config,
) -> None:
    histograms = empty_histograms()
    for low, n in ((109.0, 5), (110.0, 7), (149.0, 11), (549.0, 13), (551.0, 17)):
        histograms["4j1b"].fill(
            observable=[low] * n, process="ttbar", variation="nominal", weight=2.0
        )
    one = spectrum(fit_templates(histograms, config)["4j1b"], "ttbar", "nominal")
    np.testing.assert_allclose(one.axes[0].edges, np.linspace(110, 550, 12))
    assert contents(one, flow=True).tolist() == [36, *[0] * 9, 26]
    assert variances(one, flow=True).tolist() == [72, *[0] * 9, 52]


def test_rebinning_leaves_its_input_as_it_was(
    smooth_histograms: Histograms, config: Config
) -> None:
    before = copied(smooth_histograms)
    fit_templates(smooth_histograms, config)
    assert all(before[region] == smooth_histograms[region] for region in before)


@pytest.mark.parametrize("axis", [(24, 50, 550), (24, 50, 530), (25, 60, 560)])
def test_a_binning_that_does_not_fit_is_described(
    axis: tuple[int, int, int], config: Config
) -> None:
    histogram = hist.Hist(
        hist.axis.Regular(*axis, name="observable"), storage=hist.storage.Weight()
    )
    good = empty_histograms()["4j1b"]
    with pytest.raises(ValueError, match=rf"4j2b.*{axis[0]} bins from {axis[1]}"):
        fit_templates({"4j1b": good, "4j2b": histogram}, config)


def test_complete_templates_pass(
    templates: Histograms, data: Histograms, config: Config
) -> None:
    check_templates(templates, data, config)


@pytest.mark.parametrize(
    ("process", "variation"),
    [("wjets", "nominal"), ("ttbar", "ME_var"), ("single_top_tW", "btag_var_2_down")],
)
def test_an_empty_template_is_named(
    templates: Histograms,
    data: Histograms,
    process: str,
    variation: str,
    config: Config,
) -> None:
    emptied = copied(templates)
    fill(emptied["4j2b"], process, variation, 0.0)
    with pytest.raises(EmptyTemplateError, match=rf"4j2b/{process}/{variation}\b"):
        check_templates(emptied, data, config)


def test_a_sample_that_was_not_read_is_named_in_both_regions(
    templates: Histograms, data: Histograms, config: Config
) -> None:
    emptied = copied(templates)
    for histogram in emptied.values():
        fill(histogram, "ttbar", "scaleup", 0.0)
    with pytest.raises(EmptyTemplateError) as caught:
        check_templates(emptied, data, config)
    assert "4j1b/ttbar/scaleup, 4j2b/ttbar/scaleup." in str(caught.value)


def test_data_where_nothing_is_predicted_are_refused(
    templates: Histograms, data: Histograms, config: Config
) -> None:
    emptied = copied(templates)
    emptied["4j1b"].view()["value"][2, :, 0] = 0
    with pytest.raises(EmptyTemplateError, match=r"4j1b/all.*from 190 to 230 GeV"):
        check_templates(emptied, data, config)


@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_a_yield_without_a_likelihood_is_refused(
    templates: Histograms, data: Histograms, bad: float, config: Config
) -> None:
    broken = copied(templates)
    fill(broken["4j1b"], "wjets", "pt_res_up", bad)
    with pytest.raises(ValueError, match="4j1b/wjets/pt_res_up"):
        check_templates(broken, data, config)


def test_a_variation_that_cannot_be_mirrored_is_named(
    templates: Histograms, data: Histograms, config: Config
) -> None:
    broken = copied(templates)
    nominal = contents(spectrum(broken["4j2b"], "wjets", "nominal")).sum()
    fill(broken["4j2b"], "wjets", "pt_scale_up", 2 * nominal / 11)
    with pytest.raises(MirroredTemplateError, match="4j2b/wjets/pt_scale_up"):
        check_templates(broken, data, config)


def test_an_unknown_process_is_answered_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"no process 'zjets'.*ttbar, wjets"):
        spectrum(empty_histograms()["4j1b"], "zjets", "nominal")


def test_counts_without_weights_have_no_variances_to_give() -> None:
    with pytest.raises(TypeError, match="Weight"):
        variances(hist.Hist(hist.axis.Regular(2, 0, 1)))
