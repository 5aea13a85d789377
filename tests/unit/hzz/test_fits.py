"""The HZZ fit: what was put in comes out, and real data can be fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agc.hists.spectra import contents, spectrum
from agc.hzz.files import collision_data, hzz_inputs, standin_simulation
from agc.hzz.plots import mark_peaks
from agc.hzz.samples import DATA, REGION, hzz_config
from agc.model.fit import Fit, fit_workspace, signal_test
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from agc.show.stack import plot_observable
from support.hzz import run_shown

if TYPE_CHECKING:
    import hist

# pyhf 0.7.6 uses what jsonschema 4.18 deprecated; see tests/unit/fit/conftest.py.
pytestmark = pytest.mark.filterwarnings(
    "ignore:jsonschema.RefResolver is deprecated:DeprecationWarning"
)

CONFIG = hzz_config(real_data=False)


def fitted(
    histogram: hist.Hist[Any], data: hist.Hist[Any] | None = None
) -> tuple[dict[str, Any], Fit]:
    templates = fit_templates({REGION: histogram}, CONFIG)
    observed = spectrum(templates[REGION], DATA, "nominal")
    if data is not None:
        observed.view()[...] = data.view()
    workspace = build_workspace(templates, {REGION: observed}, CONFIG)
    return workspace, fit_workspace(workspace)


@pytest.fixture(scope="module")
def standin() -> hist.Hist[Any]:
    return run_shown(hzz_inputs("standin").fileset).histogram


@pytest.mark.parametrize("injected", [1.0, 2.0])
def test_the_fit_gives_back_the_signal_that_was_put_in(
    standin: hist.Hist[Any], injected: float
) -> None:
    expected = (
        spectrum(standin, "ZZ", "nominal")
        + spectrum(standin, "signal", "nominal") * injected
    )
    _, fit = fitted(standin, expected)
    assert fit.poi.value == pytest.approx(injected, abs=0.01)


def test_the_fit_converges_on_real_data_and_its_limit_excludes_five_percent(
    shared_data: Path,
) -> None:
    data = collision_data(shared_data / "atlas-open-data-4lep")
    workspace, fit = fitted(run_shown(data | standin_simulation()).histogram)
    # 2.0: without the reducible background, the signal takes its place
    assert fit.poi.value == pytest.approx(2.0, abs=0.1)
    assert 0.3 < fit.poi.uncertainty < 0.7
    found = signal_test(workspace, fit)
    assert found.significance == pytest.approx(7.1, abs=0.1)
    assert found.upper_limit == pytest.approx(2.87, abs=0.03)
    assert 0.3 < found.cls < 0.7


def test_real_data_are_drawn_with_poisson_intervals(standin: hist.Hist[Any]) -> None:
    data = spectrum(standin, DATA, "nominal")
    figure = plot_observable(standin, data, CONFIG, REGION, label="-")
    points = figure.axes[0].containers[-1]
    (bars,) = points.lines[2]
    # the bars of Garwood's intervals, which are longer upwards: 1 -> 0.17 to 3.30
    lengths = {
        round(float(y)): segment[:, 1] - y
        for y, segment in zip(
            points.lines[0].get_ydata(), bars.get_segments(), strict=True
        )
        if y > 0
    }
    assert contents(data).max() in lengths
    assert lengths[1].tolist() == pytest.approx([-0.827, 2.300], abs=1e-3)


def test_pseudodata_are_never_drawn_as_data_of_atlas(standin: hist.Hist[Any]) -> None:
    inputs = hzz_inputs("standin")
    data = spectrum(standin, DATA, "nominal")
    figure = plot_observable(standin, data, CONFIG, REGION, label=inputs.label)
    main = mark_peaks(figure, data).axes[0]
    texts = [text.get_text() for text in main.texts]
    assert texts[0].startswith("Pseudo-data by Casa")
    assert main.get_title(loc="left") == "Simulated by Casa, not ATLAS data"
    assert any("H(125)" in text for text in texts)
