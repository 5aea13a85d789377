"""The reducible background: what control regions say of it, and how it is fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cabinetry
import numpy as np
import pytest

from agc.hists.build import empty_histogram
from agc.hists.spectra import contents, spectrum, variances
from agc.hzz import tables
from agc.hzz.files import hzz_inputs
from agc.hzz.processor import empty_regions
from agc.hzz.reducible import (
    CONTROLS,
    REDUCIBLE,
    REDUCIBLE_NORM,
    ControlRegionError,
    add_reducible,
    estimate_reducible,
    set_free,
    with_reducible,
)
from agc.hzz.samples import BINS, DATA, REGION, VARIATIONS, hzz_config
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from benchmarks.hzz_closure import closure
from support.hzz import run_shown

if TYPE_CHECKING:
    import hist

# pyhf 0.7.6 uses what jsonschema 4.18 deprecated; see tests/unit/fit/conftest.py.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:jsonschema\.\S+ is deprecated:DeprecationWarning"
)

#: Events of each control region by mass in GeV; 4e, then 4μ, where flavours are even.
COUNTED = {
    "flavour": {90.0: 30, 150.0: 20},
    "charge": {90.0: 15, 150.0: 25},
    "both": {90.0: 10, 150.0: 10},
}


def filled(counted: dict[str, dict[float, int]] = COUNTED) -> hist.Hist[Any]:
    regions = empty_regions()
    for name, masses in counted.items():
        kinds = (44, 52) if name == "charge" else (46, 50)
        for i, (mass, events) in enumerate(masses.items()):
            regions.fill([mass] * events, DATA, name, kinds[i % 2])
    return regions


def test_the_estimate_is_the_product_of_two_regions_over_the_third() -> None:
    found = estimate_reducible(filled())
    assert found.events == pytest.approx(50 * 40 / 20)
    assert found.relative == pytest.approx((1 / 50 + 1 / 40 + 1 / 20) ** 0.5)
    # the final states are those of the events of even flavour
    assert [found.channels[name][0] for name in ("4e", "2e2μ", "4μ")] == pytest.approx(
        [37.5, 0, 62.5]
    )
    ratio = 50 / 20
    error = ratio * (15 + 15**2 * (1 / 50 + 1 / 20)) ** 0.5
    assert found.channels["4e"][1] == pytest.approx(error)


def test_events_outside_of_the_fits_range_count_for_the_shape_only() -> None:
    inside = estimate_reducible(filled())
    beside = {name: {**masses, 78.0: 40} for name, masses in COUNTED.items()}
    found = estimate_reducible(filled(beside))
    assert (found.events, found.uncertainty) == (inside.events, inside.uncertainty)
    assert found.shapes["nominal"][0] > 1.5 * inside.shapes["nominal"][0]


def test_genuine_events_are_subtracted_with_their_uncertainty() -> None:
    regions = filled()
    regions.fill([90.0] * 4, "ZZ", "charge", 44, weight=1.0)
    regions.fill([150.0] * 2, "signal", "flavour", 46, weight=2.5)
    found = estimate_reducible(regions)
    assert found.events == pytest.approx((50 - 5) * (40 - 4) / 20)
    squares = (50 + 2 * 2.5**2) / 45**2 + (40 + 4) / 36**2 + 1 / 20
    assert found.relative == pytest.approx(squares**0.5)
    assert found.genuine == {"flavour": 5, "charge": 4, "both": 0}
    assert found.channels["4e"][0] == pytest.approx((15 - 4) * 45 / 20)


@pytest.mark.fault("inputs", "a control region without events", "the region is named")
@pytest.mark.parametrize("name", CONTROLS)
def test_an_empty_control_region_is_named(name: str) -> None:
    with pytest.raises(ControlRegionError, match=f"{name!r}.* 0 events are left"):
        estimate_reducible(filled({**COUNTED, name: {}}))


def test_a_control_region_of_genuine_events_only_is_named() -> None:
    regions = filled()
    regions.fill([90.0] * 21, "ZZ", "both", 46)
    with pytest.raises(ControlRegionError, match=r"'both'.* -1 events are left"):
        estimate_reducible(regions)


def test_bins_with_more_simulation_than_data_make_no_negative_template() -> None:
    regions = filled()
    regions.fill([200.0] * 5, "ZZ", "charge", 44)  # where there are no data
    found = estimate_reducible(regions)
    for name, shape in found.shapes.items():
        assert (shape > 0).all(), name
        # what the fit mirrors
        assert (2 * found.shapes["nominal"] - shape >= 0).all(), name
    assert found.shapes["nominal"][24] < 1e-3  # 200 to 205 GeV
    assert found.shapes["nominal"].sum() == pytest.approx(found.events)


def test_a_shape_is_as_wide_as_its_kernel() -> None:
    regions = filled({name: {152.4: 100} for name in COUNTED})
    centres = np.arange(82.5, 250, 5)
    for width in (4.0, 8.0):
        shapes = estimate_reducible(regions, kernel_gev=width).shapes
        shape = shapes["nominal"]
        mean = np.average(centres, weights=shape)
        spread = np.average((centres - mean) ** 2, weights=shape)
        assert mean == pytest.approx(152.5, abs=0.5)
        # a bin's own width comes on top
        assert spread**0.5 == pytest.approx((width**2 + 25 / 12) ** 0.5, rel=0.05)
    assert shapes["reducibleWide"].max() == pytest.approx(shape.max() / 2, rel=0.05)


def test_a_variation_is_the_shape_of_one_control_region() -> None:
    found = estimate_reducible(filled({**COUNTED, "both": {90.0: 20}}))
    low = slice(0, 8)  # 80 to 120 GeV
    alone = found.shapes["reducibleBothAlone"]
    flavour = found.shapes["reducibleFlavourAlone"]
    assert alone[low].sum() / alone.sum() > 0.99
    assert flavour[low].sum() / flavour.sum() == pytest.approx(30 / 50, abs=0.06)


def test_the_background_takes_the_place_of_its_simulation() -> None:
    config, reducible = hzz_config(real_data=False), estimate_reducible(filled())
    histogram = empty_histogram(BINS, "m", [*config.processes, DATA], VARIATIONS)
    histogram.fill([100.0], "ZZ", "m4lUP", weight=2.0)
    found = with_reducible(histogram, reducible)
    add_reducible(config, reducible)
    assert list(config.processes) == ["signal", "ZZ", REDUCIBLE]
    assert contents(spectrum(found, "ZZ", "m4lUP"))[4] == 2.0
    for name, shape in reducible.shapes.items():
        one = spectrum(found, REDUCIBLE, name)
        np.testing.assert_array_equal(contents(one), shape)
        assert not variances(one).any()
    (norm,) = [s for s in config.systematics if s.label == REDUCIBLE_NORM]
    assert norm.size == reducible.relative
    assert not any(s.acts_on(REDUCIBLE) for s in config.systematics[:-5])


@pytest.fixture(scope="module")
def workspace() -> dict[str, Any]:
    result = run_shown(hzz_inputs("standin").fileset)
    config, reducible = hzz_config(real_data=False), estimate_reducible(result.regions)
    add_reducible(config, reducible)
    histogram = with_reducible(result.histogram, reducible)
    templates = fit_templates({REGION: histogram}, config)
    data = {REGION: spectrum(templates[REGION], DATA, "nominal")}
    return build_workspace(templates, data, config)


def test_a_free_size_has_no_constraint_and_the_workspace_stays(
    workspace: dict[str, Any],
) -> None:
    free, _ = cabinetry.model_utils.model_and_data(set_free(workspace))
    kept, _ = cabinetry.model_utils.model_and_data(workspace)
    assert kept.config.param_set(REDUCIBLE_NORM).constrained
    assert not free.config.param_set(REDUCIBLE_NORM).constrained
    assert free.config.param_set(REDUCIBLE_NORM).suggested_init == [1.0]
    once = np.array(free.config.suggested_init())
    twice = once.copy()
    twice[free.config.par_map[REDUCIBLE_NORM]["slice"]] = 2.0
    added = free.expected_actualdata(twice) - free.expected_actualdata(once)
    (samples,) = (c["samples"] for c in workspace["channels"])
    (template,) = (s["data"] for s in samples if s["name"] == REDUCIBLE)
    assert added == pytest.approx(template)


def test_one_parameter_alone_makes_a_yield_negative_and_it_is_bounded(
    workspace: dict[str, Any],
) -> None:
    model, _ = cabinetry.model_utils.model_and_data(workspace)
    start = np.array(model.config.suggested_init())

    def least(name: str, size: float) -> float:
        pars = start.copy()
        pars[model.config.par_map[name]["slice"]] = size
        return float(model.expected_actualdata(pars).min())

    bounds = dict(
        zip(model.config.par_names, model.config.suggested_bounds(), strict=True)
    )
    names = [s.label for s in hzz_config(real_data=False).systematics]
    names += [n for n in bounds if n.startswith("Reducible")]
    for name in names:
        assert min(least(name, bound) for bound in bounds[name]) > 0, name
        limit = 2 if name == "m4l_variation" else 5
        assert tuple(bounds[name]) == (-limit, limit), name
    assert min(least("m4l_variation", size) for size in (-4, 4)) < 0


def test_tables_hold_the_control_regions_the_estimate_and_a_simulation() -> None:
    regions = filled()
    reducible = estimate_reducible(regions)
    rows = tables.control_regions(regions, reducible)
    assert [row["80 to 250 GeV"] for row in rows] == pytest.approx([50, 40, 20, 100])
    assert rows[0]["80 to 100 GeV"] == 30
    assert rows[-1]["±"] == reducible.uncertainty
    regions.fill([130.5] * 3, "Z_tt", "signal", 48, weight=4.0)
    *_, simulated = tables.control_regions(regions, reducible)
    assert simulated["80 to 250 GeV"] == simulated["130 to 180 GeV"] == 12
    assert simulated["±"] == pytest.approx(48**0.5)


def test_final_states_add_up() -> None:
    regions = filled()
    regions.fill([125.0, 300.0], "signal", "signal", 48)
    regions.fill([125.0, 126.0], DATA, "signal", [48, 52])
    *states, total = tables.channel_yields(regions, estimate_reducible(regions))
    assert [row["signal"] for row in states] == [0, 1, 0]  # 300 GeV is not fitted
    assert [row[DATA] for row in (*states, total)] == [0, 1, 1, 2]
    assert total[REDUCIBLE] == pytest.approx(100)
    assert total["sum"] == pytest.approx(101)


@pytest.mark.slow
def test_toys_of_the_whole_experiment_give_back_their_signal() -> None:
    found = closure(toys=6)
    assert found.failed == 0
    assert abs(found.pulls.mean()) < 3 / 6**0.5
    assert found.pulls.std(ddof=1) < 2
