"""The HZZ fit: what was put in comes out, and real data can be fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from coffea.processor import IterativeExecutor

from agc.hists.spectra import spectrum
from agc.hzz.files import Inputs, collision_data, hzz_inputs, standin_simulation
from agc.hzz.plots import garwood, plot_mass
from agc.hzz.runs import run_hzz
from agc.hzz.workspace import POI, build_workspace
from agc.model.fit import estimate, fit_workspace

if TYPE_CHECKING:
    import hist

# pyhf 0.7.6 uses what jsonschema 4.18 deprecated; see tests/unit/fit/conftest.py.
pytestmark = pytest.mark.filterwarnings(
    "ignore:jsonschema.RefResolver is deprecated:DeprecationWarning"
)


@pytest.fixture(scope="module")
def standin() -> hist.Hist[Any]:
    return run_hzz(hzz_inputs("standin"), IterativeExecutor(status=False)).histogram


@pytest.mark.parametrize("injected", [1.0, 2.0])
def test_the_fit_gives_back_the_signal_that_was_put_in(
    standin: hist.Hist[Any], injected: float
) -> None:
    expected = (
        spectrum(standin, "ZZ", "nominal")
        + spectrum(standin, "signal", "nominal") * injected
    )
    fit = fit_workspace(build_workspace(standin, expected))
    assert estimate(fit.results, POI).value == pytest.approx(injected, abs=0.01)


def test_the_fit_converges_on_real_data(shared_data: Path) -> None:
    files = collision_data(shared_data / "atlas-open-data-4lep")
    simulated, sumw = standin_simulation()
    inputs = Inputs(files | simulated, sumw, real_data=True, real_simulation=False)
    found = run_hzz(inputs, IterativeExecutor(status=False)).histogram
    signal = estimate(fit_workspace(build_workspace(found)).results, POI)
    # 2.0: without the reducible background, the signal takes its place
    assert signal.value == pytest.approx(2.0, abs=0.1)
    assert 0.3 < signal.uncertainty < 0.7


def test_poisson_intervals_are_those_of_the_tables() -> None:
    down, up = garwood(np.array([0.0, 1.0, 10.0]))
    np.testing.assert_allclose(down, [0, 0.827, 3.109], atol=1e-3)
    np.testing.assert_allclose(up, [1.841, 2.300, 4.267], atol=1e-3)


def test_pseudodata_are_never_drawn_as_data_of_atlas(standin: hist.Hist[Any]) -> None:
    figure = plot_mass(standin, hzz_inputs("standin"))
    main = figure.axes[0]
    texts = [text.get_text() for text in main.texts]
    assert texts[0].startswith("Pseudo-data by Casa")
    assert main.get_title(loc="left") == "Simulated by Casa, not ATLAS data"
    assert any("H(125)" in text for text in texts)
