from __future__ import annotations

import logging
from typing import Any

import hist
import numpy as np
import pyhf
import pytest

from agc.hists.spectra import spectrum
from agc.model.fit import Fit, FitError, estimate, fit_workspace
from agc.model.fit import _check_covariance as check_covariance
from agc.model.pseudodata import pseudodata
from agc.model.workspace import POI, build_workspace

Histograms = dict[str, hist.Hist[Any]]


def expected_data(templates: Histograms, *, ttbar_norm: float) -> Histograms:
    """The model's own prediction, with the ttbar cross-section scaled."""
    return {
        region: sum(
            (
                spectrum(histogram, process, "nominal")
                for process in histogram.axes["process"]
                if process != "ttbar"
            ),
            spectrum(histogram, "ttbar", "nominal") * ttbar_norm,
        )
        for region, histogram in templates.items()
    }


@pytest.mark.parametrize("injected", [1.0, 1.3])
def test_the_fit_finds_the_cross_section_that_was_put_in(
    templates: Histograms, injected: float
) -> None:
    expected = expected_data(templates, ttbar_norm=injected)
    fitted = fit_workspace(build_workspace(templates, expected))
    assert fitted.ttbar_norm.value == pytest.approx(injected, abs=2e-3)
    pulls = fitted.results.bestfit[[POI not in n for n in fitted.results.labels]]
    constrained = np.minimum(np.abs(pulls), np.abs(pulls - 1))
    assert constrained.max() < 0.05


def test_pseudodata_measure_about_one_with_a_meaningful_uncertainty(fit: Fit) -> None:
    norm = fit.ttbar_norm
    assert 0.85 < norm.value < 1.15
    assert 0.02 < norm.uncertainty < 0.3
    assert norm.down == pytest.approx(norm.uncertainty, rel=0.5)
    assert norm.up == pytest.approx(norm.uncertainty, rel=0.5)
    assert 0 <= fit.results.goodness_of_fit <= 1


def test_the_fit_brings_the_prediction_closer_and_makes_it_more_certain(
    fit: Fit, data: Histograms
) -> None:
    for channel, region in enumerate(fit.prefit.model.config.channels):
        observed = data[region].values()
        before, after = (
            np.sum(prediction.model_yields[channel], axis=0)
            for prediction in (fit.prefit, fit.postfit)
        )
        assert np.abs(after - observed).sum() < 0.3 * np.abs(before - observed).sum()
        uncertainty_before, uncertainty_after = (
            prediction.total_stdev_model_channels[channel][-1]
            for prediction in (fit.prefit, fit.postfit)
        )
        assert uncertainty_after < 0.3 * uncertainty_before


def test_a_parameter_without_a_scan_has_symmetric_uncertainties(fit: Fit) -> None:
    scale = estimate(fit.results, "Jet energy scale")
    assert scale.down == scale.up == scale.uncertainty > 0


def test_without_a_scan_the_cross_section_is_the_same(
    fit: Fit, workspace: dict[str, Any]
) -> None:
    quick = fit_workspace(workspace).ttbar_norm
    assert quick.value == fit.ttbar_norm.value
    assert quick.down == quick.up == quick.uncertainty == fit.ttbar_norm.uncertainty


def test_an_unknown_parameter_is_answered_with_the_known_ones(fit: Fit) -> None:
    with pytest.raises(KeyError, match=r"no parameter 'mu'.*'ttbar_norm'"):
        estimate(fit.results, "mu")


def with_statistics_of(templates: Histograms, factor: float) -> dict[str, Any]:
    """The same workspace with more events: rounding then hides the minimum's shape."""
    more = {region: one * factor for region, one in templates.items()}
    return build_workspace(more, pseudodata(more))


def test_a_second_more_careful_attempt_saves_the_fit(
    templates: Histograms, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="agc.model.fit"):
        fitted = fit_workspace(with_statistics_of(templates, 300))
    assert "second attempt: the distance to the minimum" in caplog.text
    assert fitted.ttbar_norm.value == pytest.approx(0.92, abs=0.03)


def test_a_fit_that_cannot_converge_says_why_and_leaves_pyhf_as_it_was(
    templates: Histograms,
) -> None:
    _, optimizer = pyhf.get_backend()
    with pytest.raises(FitError, match=r"not converge: the distance .* Look at"):
        fit_workspace(with_statistics_of(templates, 1e6))
    assert pyhf.get_backend()[1] is optimizer


def test_a_parameter_without_an_uncertainty_is_named(fit: Fit) -> None:
    uncertainty = fit.results.uncertainty.copy()
    uncertainty[fit.results.labels.index("b-tag NP 2")] = np.nan
    with pytest.raises(FitError, match=r"no usable covariance for b-tag NP 2:"):
        check_covariance(fit.results._replace(uncertainty=uncertainty))
