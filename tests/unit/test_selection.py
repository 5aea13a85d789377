"""The selection, one concept at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agc.fast import selection
from agc.fast.exact_sums import bin_of, to_weight_step

NAN = math.nan


@pytest.mark.parametrize(
    ("electron", "selected"),
    [
        ((31.0, 0.0, 4, 1.0), True),
        ((30.0, 0.0, 4, 1.0), False),
        ((31.0, 2.1, 4, 1.0), False),
        ((31.0, -2.0, 4, 1.0), True),
        ((31.0, 0.0, 3, 1.0), False),
        ((31.0, 0.0, 4, 4.0), False),
        ((NAN, 0.0, 4, 1.0), False),
        ((-31.0, 0.0, 4, 1.0), False),
        ((31.0, NAN, 4, 1.0), False),
        ((31.0, np.float32(2.1), 4, 1.0), False),
        ((31.0, np.float32(-2.1), 4, 1.0), False),
        ((31.0, np.nextafter(np.float32(2.1), np.float32(0)), 4, 1.0), True),
    ],
)
def test_electrons_pass_strict_cuts(
    electron: tuple[float, float, int, float], *, selected: bool
) -> None:
    assert selection.is_selected_electron(*electron) == selected


@pytest.mark.parametrize(
    ("muon", "selected"),
    [
        ((31.0, 0.0, True, 1.0, 0.1), True),
        ((30.0, 0.0, True, 1.0, 0.1), False),
        ((31.0, -2.1, True, 1.0, 0.1), False),
        ((31.0, 0.0, False, 1.0, 0.1), False),
        ((31.0, 0.0, True, 4.0, 0.1), False),
        ((31.0, 0.0, True, 1.0, np.float32(0.15)), False),
        ((31.0, np.float32(2.1), True, 1.0, 0.1), False),
        ((31.0, 0.0, True, 1.0, NAN), False),
    ],
)
def test_muons_pass_strict_cuts(
    muon: tuple[float, float, bool, float, float], *, selected: bool
) -> None:
    assert selection.is_selected_muon(*muon) == selected


@pytest.mark.parametrize(
    ("eta", "jet_id", "passes"),
    [
        (0.0, 6, True),
        (0.0, 2, False),
        (0.0, 0, False),
        (0.0, 4, True),
        (np.float32(2.4), 6, False),
    ],
)
def test_jets_need_the_tight_identification_with_lepton_veto(
    eta: float, jet_id: int, *, passes: bool
) -> None:
    assert selection.jet_passes_identification(eta, jet_id) == passes


def test_the_btag_cut_is_strict() -> None:
    assert not selection.is_btagged(0.5)
    assert selection.is_btagged(np.nextafter(np.float32(0.5), np.float32(1)))


def trijet_mass(jets: list[tuple[float, float, float, float, float]]) -> float:
    """Take pt, eta, phi, mass and the b-tag discriminant of each jet."""
    pt, eta, phi, mass, btag = np.array(jets).T
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    return selection.trijet_mass(px, py, pz, energy, btag > 0.5)


def test_three_jets_at_rest_together_have_the_sum_of_their_energies_as_mass() -> None:
    third = 2 * math.pi / 3
    jets = [(50.0, 0.0, i * third, 0.0, 0.9) for i in range(3)]
    assert trijet_mass(jets) == pytest.approx(150.0)


def test_a_trijet_needs_a_btag() -> None:
    hard = [(200.0, 0.0, 0.1 * i, 10.0, 0.1) for i in range(3)]
    soft = [(40.0, 1.0, 2.0, 5.0, 0.9)]
    with_tag = trijet_mass(hard + soft)
    # two of the hard jets with the tagged one, not the three hard ones
    candidates = [
        trijet_mass([hard[i], hard[j], soft[0]]) for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert with_tag in candidates
    assert math.isnan(trijet_mass(hard))


def test_of_equal_trijets_the_first_wins() -> None:
    # mirrored in eta: the same pt, another mass
    jets = [
        (60.0, 0.0, 0.0, 5.0, 0.9),
        (60.0, 0.0, 0.0, 5.0, 0.1),
        (60.0, 1.5, 0.0, 5.0, 0.1),
        (60.0, 0.5, 0.0, 5.0, 0.1),
    ]
    assert trijet_mass(jets) == trijet_mass([jets[0], jets[1], jets[2]])


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_an_observable_goes_into_the_bin_that_hist_would_fill(value: float) -> None:
    import hist

    filled = hist.Hist(hist.axis.Regular(25, 50, 550)).fill([value])
    assert filled.values(flow=True)[bin_of(value)] == 1


@pytest.mark.parametrize("edge", np.linspace(50, 550, 26))
def test_bin_edges_go_where_hist_puts_them(edge: float) -> None:
    test_an_observable_goes_into_the_bin_that_hist_would_fill.hypothesis.inner_test(
        edge
    )


@given(st.lists(st.floats(0, 20), min_size=2, max_size=200), st.randoms())
def test_rounded_weights_add_up_to_the_same_sum_in_any_order(
    weights: list[float], random: object
) -> None:
    rounded = [to_weight_step(weight) for weight in weights]
    shuffled = rounded.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sum(shuffled) == sum(rounded)
    assert sum(rounded) == pytest.approx(sum(weights), abs=len(weights) * 2.0**-25)
