"""The parametric detector of the stand-in samples measures as well as it claims."""

from __future__ import annotations

import numpy as np
import pytest

from agc.standin.detector import (
    ELECTRON,
    MUON,
    btag,
    electron_id,
    impact_significance,
    isolation,
    jet_id,
    jet_resolution,
    lepton_resolution,
    muon_id,
    qgl,
    response,
)

MANY = 100_000
FRACTIONS = ("charged", "neutral", "photon", "electron", "muon")


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


@pytest.mark.parametrize(
    ("pt", "low", "high"), [(30.0, 0.15, 0.20), (100.0, 0.08, 0.11), (1e3, 0.04, 0.06)]
)
def test_jet_resolution_is_what_cms_publishes(
    pt: float, low: float, high: float
) -> None:
    assert low < jet_resolution(np.array([pt]))[0] < high


def test_jets_are_measured_better_at_higher_pt() -> None:
    assert np.all(np.diff(jet_resolution(np.linspace(10.0, 1e3, 100))) < 0)


@pytest.mark.parametrize("kind", [ELECTRON, MUON])
def test_leptons_are_measured_better_in_the_barrel(kind: int) -> None:
    barrel, outside = lepton_resolution(kind, np.array([0.0, -2.0]))
    assert barrel < outside < 0.05


def test_responses_scatter_around_one_with_the_given_width() -> None:
    drawn = response(np.full(MANY, 0.15), rng())
    assert drawn.mean() == pytest.approx(1.0, abs=0.002)
    assert drawn.std() == pytest.approx(0.15, rel=0.01)


def test_no_response_is_negative() -> None:
    assert response(np.full(MANY, 2.0), rng()).min() == pytest.approx(0.1)


def test_the_same_seed_gives_the_same_measurement() -> None:
    resolution = np.full(10, 0.1)
    same = response(resolution, rng(7)), response(resolution, rng(7))
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], response(resolution, rng(8)))


def test_isolation_grows_with_the_activity_and_is_never_negative() -> None:
    pt = np.full(MANY, 40.0)
    quiet = isolation(np.zeros(MANY), pt, rng())
    busy = isolation(np.full(MANY, 20.0), pt, rng())
    assert quiet.min() == 0.0
    assert np.median(quiet) < 0.02
    assert np.median(busy) == pytest.approx(0.5, abs=0.01)


def test_displaced_tracks_are_significant_and_prompt_ones_are_not() -> None:
    pt = np.full(MANY, 40.0)
    prompt = impact_significance(np.zeros(MANY), pt, 1.2, rng())
    displaced = impact_significance(np.full(MANY, 0.5), pt, 1.2, rng())
    assert (prompt < 4).mean() == pytest.approx(0.966, abs=0.01)
    assert (displaced < 4).mean() < 0.05


def test_isolated_electrons_pass_as_often_as_the_working_points_say() -> None:
    pt = np.full(MANY, 40.0)
    relative = isolation(np.zeros(MANY), pt, rng())
    level = electron_id(np.ones(MANY, dtype=bool), relative, pt, rng(2))
    passing = [(level >= wanted).mean() for wanted in (1, 2, 3, 4)]
    assert passing == pytest.approx([0.95, 0.90, 0.80, 0.70], abs=0.08)
    assert passing == sorted(passing, reverse=True)


def test_electrons_in_jets_and_hadrons_fail() -> None:
    pt = np.full(MANY, 40.0)
    in_jet = electron_id(np.ones(MANY, dtype=bool), np.ones(MANY), pt, rng())
    hadron = electron_id(np.zeros(MANY, dtype=bool), np.zeros(MANY), pt, rng())
    assert in_jet.max() == 0
    assert 0.01 < (hadron == 4).mean() < 0.03


def test_muons_pass_and_hadrons_mostly_do_not() -> None:
    genuine = np.arange(2 * MANY) < MANY
    tight = muon_id(genuine, rng())
    assert tight[genuine].mean() == pytest.approx(0.96, abs=0.005)
    assert tight[~genuine].mean() == pytest.approx(0.10, abs=0.005)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"charged": 0.6, "neutral": 0.1, "photon": 0.3}, 6),
        ({"charged": 0.1, "muon": 0.9}, 2),
        ({"charged": 0.1, "electron": 0.9}, 2),
        ({"charged": 0.3, "muon": 0.7}, 6),
        ({"photon": 0.95, "charged": 0.05}, 0),
        ({"neutral": 0.95, "charged": 0.05}, 0),
        ({"electron": 1.0}, 0),
    ],
)
def test_jet_id_tells_jets_leptons_and_noise_apart(
    kind: dict[str, float], expected: int
) -> None:
    fractions = {name: np.full(1000, kind.get(name, 0.0)) for name in FRACTIONS}
    level = jet_id(fractions, np.full(1000, 5), np.zeros(1000), rng())
    assert (level == expected).mean() > 0.97
    assert set(np.unique(level)) <= {0, 2, 6}


def test_one_jet_in_a_hundred_fails_without_a_reason() -> None:
    fractions = {name: np.full(MANY, 0.2) for name in FRACTIONS}
    level = jet_id(fractions, np.full(MANY, 5), np.zeros(MANY), rng())
    assert (level == 0).mean() == pytest.approx(0.01, abs=0.002)


@pytest.mark.parametrize(
    ("flavour", "loose", "medium", "tight"),
    [
        (5, 0.81, 0.63, 0.41),
        (4, 0.37, 0.12, 0.022),
        (0, 0.089, 0.009, 0.001),
    ],
)
def test_b_tags_have_the_published_efficiencies(
    flavour: int, loose: float, medium: float, tight: float
) -> None:
    tag = btag(np.full(MANY, flavour), np.zeros(MANY), rng())
    efficiencies = [(tag > cut).mean() for cut in (0.5426, 0.8484, 0.9535)]
    assert efficiencies == pytest.approx([loose, medium, tight], abs=0.004)


def test_b_tags_are_between_zero_and_one_or_absent_as_outside_the_tracker() -> None:
    tag = btag(np.zeros(MANY, dtype=np.int64), np.zeros(MANY), rng())
    assert np.all((tag == -10.0) | ((tag >= 0.0) & (tag <= 1.0)))
    assert np.all(btag(np.full(100, 5), np.full(100, -3.0), rng()) == -10.0)


def test_quarks_have_a_higher_likelihood_than_gluons() -> None:
    is_quark = np.arange(2 * MANY) < MANY
    value = qgl(is_quark, rng())
    known = value >= 0
    assert known.mean() == pytest.approx(0.9, abs=0.005)
    assert np.median(value[known & is_quark]) > 0.6
    assert np.median(value[known & ~is_quark]) < 0.3
    assert value.max() <= 1.0
