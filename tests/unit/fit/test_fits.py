from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import cabinetry
import hist
import numpy as np
import pyhf
import pytest

from agc.hists.io import load_histograms
from agc.hists.spectra import spectrum
from agc.inputs.config import Config
from agc.model.fit import (
    Fit,
    FitError,
    breakdown,
    estimate,
    fit_workspace,
    ranking,
    signal_test,
)
from agc.model.fit import _check_covariance as check_covariance
from agc.model.pseudodata import pseudodata
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from agc.ttbar.config import ttbar_config

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
    templates: Histograms, injected: float, config: Config
) -> None:
    expected = expected_data(templates, ttbar_norm=injected)
    fitted = fit_workspace(build_workspace(templates, expected, config))
    assert fitted.poi.value == pytest.approx(injected, abs=2e-3)
    pulls = fitted.results.bestfit[
        ["ttbar_norm" not in n for n in fitted.results.labels]
    ]
    constrained = np.minimum(np.abs(pulls), np.abs(pulls - 1))
    assert constrained.max() < 0.05


def test_pseudodata_measure_about_one_with_a_meaningful_uncertainty(fit: Fit) -> None:
    norm = fit.poi
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
    quick = fit_workspace(workspace).poi
    assert quick.value == fit.poi.value
    assert quick.down == quick.up == quick.uncertainty == fit.poi.uncertainty


def test_an_unknown_parameter_is_answered_with_the_known_ones(fit: Fit) -> None:
    with pytest.raises(KeyError, match=r"no parameter 'mu'.*'ttbar_norm'"):
        estimate(fit.results, "mu")


def with_statistics_of(
    templates: Histograms, factor: float, config: Config
) -> dict[str, Any]:
    """The same workspace with more events: rounding then hides the minimum's shape."""
    more = {region: one * factor for region, one in templates.items()}
    return build_workspace(more, pseudodata(more), config)


def test_a_second_more_careful_attempt_saves_the_fit(
    templates: Histograms, config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="agc.model.fit"):
        fitted = fit_workspace(with_statistics_of(templates, 300, config))
    assert "second attempt: the distance to the minimum" in caplog.text
    assert fitted.poi.value == pytest.approx(0.92, abs=0.03)


def test_a_fit_that_cannot_converge_says_why_and_leaves_pyhf_as_it_was(
    templates: Histograms, config: Config
) -> None:
    _, optimizer = pyhf.get_backend()
    with pytest.raises(FitError, match=r"not converge: the distance .* Look at"):
        fit_workspace(with_statistics_of(templates, 1e6, config))
    assert pyhf.get_backend()[1] is optimizer


def test_a_parameter_without_an_uncertainty_is_named(fit: Fit) -> None:
    uncertainty = fit.results.uncertainty.copy()
    uncertainty[fit.results.labels.index("b-tag NP 2")] = np.nan
    with pytest.raises(FitError, match=r"no usable covariance for b-tag NP 2:"):
        check_covariance(fit.results._replace(uncertainty=uncertainty))


def test_the_parts_of_the_uncertainty_add_up_to_it(fit: Fit) -> None:
    parts = fit.breakdown
    assert list(parts) == ["data", "systematics", "simulated events"]
    total = sum(part**2 for part in parts.values()) ** 0.5
    assert total == pytest.approx(fit.poi.uncertainty, rel=1e-6)
    assert all(part > 0 for part in parts.values())


def test_the_part_of_the_data_is_what_is_left_with_all_else_fixed(
    fit: Fit, workspace: dict[str, Any]
) -> None:
    model, data = cabinetry.model_utils.model_and_data(workspace)
    fixed = [name != "ttbar_norm" for name in model.config.par_names]
    alone = cabinetry.fit.fit(
        model, data, fix_pars=fixed, init_pars=fit.results.bestfit.tolist()
    )
    expected = alone.uncertainty[model.config.par_names.index("ttbar_norm")]
    found = breakdown(fit.results, "ttbar_norm")["data"]
    assert found == pytest.approx(expected, rel=0.05)


def test_the_ranking_is_that_of_repeated_fits(
    fit: Fit, workspace: dict[str, Any]
) -> None:
    found = ranking(fit.results, "ttbar_norm")
    impacts = np.abs(found.postfit_up)
    assert (np.diff(impacts) <= 0).all()
    model, data = cabinetry.model_utils.model_and_data(workspace)
    first = found.labels[0]
    at = model.config.par_names.index(first)
    fixed = [i == at for i in range(model.config.npars)]
    changes = []
    for sign in (1, -1):
        start = fit.results.bestfit.copy()
        start[at] += sign * fit.results.uncertainty[at]
        refit = cabinetry.fit.fit(model, data, fix_pars=fixed, init_pars=start.tolist())
        norm = refit.bestfit[model.config.par_names.index("ttbar_norm")]
        changes.append(abs(norm - fit.poi.value))
    assert np.mean(changes) == pytest.approx(impacts[0], rel=0.2)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rounding_of_the_histograms_does_not_move_the_result(
    fit: Fit, templates: Histograms, config: Config, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    moved = {region: one.copy() for region, one in templates.items()}
    for one in moved.values():
        one.view()["value"] *= 1 + 1e-9 * rng.standard_normal(one.shape)
    found = fit_workspace(build_workspace(moved, pseudodata(moved), config)).poi
    assert found.value == pytest.approx(fit.poi.value, abs=1e-3)
    assert found.uncertainty == pytest.approx(fit.poi.uncertainty, abs=1e-3)


def test_data_make_no_parameter_less_certain_than_it_was_before(
    repository: Path,
) -> None:
    """Its parameters are strongly correlated: the b-tag weights' do nearly the same."""
    reference = repository / "notebooks" / "inputs" / "reference.json"
    config = ttbar_config()
    templates = fit_templates(load_histograms(reference), config)
    workspace = build_workspace(templates, pseudodata(templates), config)
    results = fit_workspace(workspace).results
    before = cabinetry.model_utils.prefit_uncertainties(
        cabinetry.model_utils.model_and_data(workspace)[0]
    )
    constrained = before > 0
    assert constrained.sum() > 20
    assert np.max(results.uncertainty[constrained] / before[constrained]) < 1.02


@pytest.mark.fault("inputs", "ten times the signal that fits", "said in one sentence")
def test_without_an_upper_limit_it_is_said_where_it_was_looked_for() -> None:
    signal = {"type": "normfactor", "name": "mu", "data": None}
    rate = {"type": "normsys", "name": "rate", "data": {"lo": 0.9, "hi": 1.1}}
    samples = [
        {"name": "signal", "data": [5.0], "modifiers": [signal]},
        {"name": "background", "data": [50.0], "modifiers": [rate]},
    ]
    poi = {"name": "mu", "bounds": [[0.0, 10.0]], "inits": [1.0]}
    workspace = {
        "version": "1.0.0",
        "channels": [{"name": "region", "samples": samples}],
        "observations": [{"name": "region", "data": [550.0]}],
        "measurements": [{"name": "m", "config": {"poi": "mu", "parameters": [poi]}}],
    }
    fit = fit_workspace(workspace)
    with pytest.raises(FitError, match="no upper limit on the signal from") as caught:
        signal_test(workspace, fit)
    start, stop = re.findall(r"from (\S+) to (\S+) times", str(caught.value))[0]
    assert float(start) < float(stop)
