"""Ancestry, leptons, jets, truth and Z decays, on event records made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agc.standin.detector import ELECTRON, MUON
from agc.standin.events import genparts
from agc.standin.generator import (
    Particles,
    first_ancestor,
    has_quark,
    is_last_copy,
    is_last_parton,
    is_weakly_decaying,
    neighbours,
    visible,
)
from agc.standin.jets import cluster, reconstruct
from agc.standin.leptons import (
    atlas_leptons,
    cms_leptons,
    nonprompt_pairs,
    true_leptons,
)
from agc.standin.z_decays import _squared_amplitude, boosted, four_lepton_decays

Row = tuple[int, int, int, float, float, float]


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def record(*events: list[Row], vertex_mm: float = 0.0) -> Particles:
    """Build a batch from PDG code, status, row of the mother, pt, eta and phi."""
    counts = [len(event) for event in events]
    offsets = np.concatenate(([0], np.cumsum(counts)))
    rows = np.array([row for event in events for row in event], dtype=float)
    number = np.repeat(np.arange(len(events)), counts)
    pt, eta, phi = rows[:, 3], rows[:, 4], rows[:, 5]
    momentum = np.stack(
        [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)],
        axis=1,
    )
    mother = rows[:, 2].astype(np.int64)
    vertex = np.zeros((len(rows), 3))
    vertex[:, 1] = vertex_mm
    return Particles(
        offsets=offsets,
        event=number,
        pdg_id=rows[:, 0].astype(np.int64),
        status=rows[:, 1].astype(np.int64),
        mother=np.where(mother < 0, -1, mother + offsets[number]),
        momentum=momentum,
        vertex=vertex,
        pt=pt,
        eta=eta,
        phi=phi,
    )


#: g -> t -> t -> W b, b -> b g, W -> u dbar, dbar -> dbar g; the other top to e nu.
TOPS: list[Row] = [
    (21, -21, -1, 0.0, 9.0, 0.0),
    (6, -22, 0, 100.0, 0.1, 0.1),
    (6, -62, 1, 101.0, 0.1, 0.1),
    (24, -22, 2, 60.0, 0.2, 0.3),
    (5, -23, 2, 50.0, 0.5, -1.0),
    (5, -51, 4, 45.0, 0.5, -1.1),
    (21, -51, 4, 5.0, 0.6, -0.9),
    (2, -23, 3, 40.0, 0.0, 0.5),
    (-1, -23, 3, 30.0, 0.9, 2.0),
    (-1, -51, 8, 26.0, 0.9, 2.1),
    (21, -51, 8, 5.0, 0.8, 1.9),
    (-6, -22, 0, 100.0, 0.1, 3.0),
    (-24, -22, 11, 60.0, 0.2, 2.9),
    (-5, -23, 11, 50.0, 0.5, -2.0),
    (11, 23, 12, 35.0, 0.3, 2.5),
    (-12, 23, 12, 35.0, 0.3, -2.5),
]


def test_only_the_last_copy_of_a_particle_is_a_last_copy() -> None:
    last = np.flatnonzero(is_last_copy(record(TOPS)))
    assert last.tolist() == [0, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15]


def test_the_first_ancestor_of_a_radiated_quark_is_its_boson() -> None:
    particles = record(TOPS, TOPS)
    second = len(TOPS)
    rows = np.array([5, 9, 2, 0, second + 9])
    assert first_ancestor(particles, rows).tolist() == [2, 3, 0, -1, second + 3]


def test_the_partons_that_hadronise_have_no_parton_daughters() -> None:
    rows = np.flatnonzero(is_last_parton(record(TOPS)))
    assert rows.tolist() == [5, 6, 7, 9, 10, 13]


@pytest.mark.parametrize(
    ("pdg_id", "quark"),
    [(511, 5), (-521, 5), (5122, 5), (10531, 5), (411, 4), (-4122, 4), (443, 4)],
)
def test_hadrons_are_named_by_their_heaviest_quark(pdg_id: int, quark: int) -> None:
    assert has_quark(np.array([pdg_id]), quark)[0]
    assert not has_quark(np.array([pdg_id]), 9 - quark)[0]


@pytest.mark.parametrize("pdg_id", [5, 4, 21, 211, 2212, 13, 310])
def test_other_particles_are_no_heavy_hadrons(pdg_id: int) -> None:
    assert not has_quark(np.array([pdg_id]), 5)[0]
    assert not has_quark(np.array([pdg_id]), 4)[0]


def test_an_excited_hadron_passes_its_flavour_on() -> None:
    chain: list[Row] = [
        (513, -83, -1, 20.0, 0.0, 0.0),
        (511, -91, 0, 19.0, 0.0, 0.0),
        (-411, -91, 1, 10.0, 0.0, 0.0),
    ]
    particles = record(chain)
    assert is_weakly_decaying(particles, 5).tolist() == [False, True, False]
    assert is_weakly_decaying(particles, 4).tolist() == [False, False, True]


def test_neutrinos_intermediate_and_forward_particles_are_invisible() -> None:
    event: list[Row] = [
        (211, 91, -1, 1.0, 0.0, 0.0),
        (14, 91, -1, 1.0, 0.0, 0.0),
        (211, -91, -1, 1.0, 0.0, 0.0),
        (22, 91, -1, 1.0, 5.5, 0.0),
    ]
    assert visible(record(event)).tolist() == [True, False, False, False]


def test_neighbours_are_found_across_the_edge_of_phi_and_not_across_events() -> None:
    pair: list[Row] = [
        (13, 1, -1, 30.0, 0.0, 3.1),
        (211, 1, -1, 5.0, 0.1, -3.1),
        (211, 1, -1, 5.0, 0.0, 2.0),
    ]
    particles = record(pair, pair)
    index, other = neighbours(particles, np.array([0, 3]), np.arange(6), 0.3)
    assert index.tolist() == [0, 1]
    assert other.tolist() == [1, 4]


def test_truth_closes_on_the_record() -> None:
    truth = genparts(record(TOPS, TOPS))
    pdg_id, mother = truth.columns["pdgId"], truth.columns["genPartIdxMother"]
    first = truth.event == 0
    assert pdg_id[first].tolist() == [6, -6, 24, -24, 5, -5, 2, -1, 11, -12]
    assert mother[first].tolist() == [-1, -1, 0, 1, 0, 1, 2, 2, 3, 3]
    assert pdg_id[~first].tolist() == pdg_id[first].tolist()


def test_truth_is_flagged_as_nanoaod_does() -> None:
    flags = genparts(record(TOPS)).columns["statusFlags"].astype(np.int64)
    assert np.all(flags & (1 << 13) > 0), "isLastCopy"
    assert np.all(flags & (1 << 8) > 0), "fromHardProcess"
    hard = flags & (1 << 7) > 0
    assert (
        hard.tolist()
        == [False, True, True, True, False, True, True, False] + [True] * 2
    )


def _isolated(pdg_id: int, n: int = 2000, pt: float = 40.0) -> list[list[Row]]:
    return [[(pdg_id, 1, -1, pt, 0.5, 1.0)] for _ in range(n)]


def _in_a_jet(pdg_id: int, n: int = 2000) -> list[list[Row]]:
    return [
        [(pdg_id, 1, -1, 40.0, 0.5, 1.0), (211, 1, -1, 30.0, 0.6, 1.1)]
        for _ in range(n)
    ]


def test_isolated_muons_are_found_tight_and_isolated() -> None:
    found = cms_leptons(record(*_isolated(-13)), MUON, rng())
    columns = found.columns
    assert len(found.event) == pytest.approx(0.98 * 2000, rel=0.02)
    assert (columns["pfRelIso04_all"] < 0.15).all()
    assert columns["tightId"].mean() == pytest.approx(0.96, abs=0.02)
    assert set(columns["charge"]) == {1}
    assert found.counted.all()
    assert columns["pt"].mean() == pytest.approx(40.0, rel=0.01)


def test_muons_in_jets_are_found_and_not_isolated() -> None:
    found = cms_leptons(record(*_in_a_jet(13)), MUON, rng())
    genuine = found.columns["charge"] == -1
    assert genuine.sum() > 1900
    assert (found.columns["pfRelIso04_all"][genuine] > 0.5).all()
    assert not found.counted[genuine].any()


def test_electrons_regain_the_photons_they_radiate() -> None:
    event: list[Row] = [(11, 1, -1, 30.0, 0.5, 1.0), (22, 1, -1, 10.0, 0.52, 1.0)]
    found = cms_leptons(record(*[event] * 2000), ELECTRON, rng())
    assert found.columns["pt"].mean() == pytest.approx(40.0, rel=0.01)
    assert (found.columns["cutBased"] >= 1).mean() > 0.9


def test_electrons_in_jets_fail_the_identification() -> None:
    found = cms_leptons(record(*_in_a_jet(11)), ELECTRON, rng())
    genuine = found.columns["charge"] == -1
    assert genuine.sum() > 1800
    assert (found.columns["cutBased"][genuine] == 0).all()


def test_some_hadrons_look_like_leptons() -> None:
    pions = record(*_isolated(211, n=20_000))
    assert 50 < len(cms_leptons(pions, ELECTRON, rng()).event) < 150
    assert 15 < len(cms_leptons(pions, MUON, rng()).event) < 70


def test_soft_and_forward_leptons_are_not_reconstructed() -> None:
    soft = record(*_isolated(13, pt=5.0))
    assert len(cms_leptons(soft, MUON, rng()).event) == 0
    forward = record(*[[(13, 1, -1, 40.0, 2.7, 0.0)]] * 100)
    assert len(cms_leptons(forward, MUON, rng()).event) == 0


def test_leptons_from_far_away_have_a_large_impact_parameter() -> None:
    displaced = cms_leptons(record(*_isolated(13), vertex_mm=1.0), MUON, rng())
    prompt = cms_leptons(record(*_isolated(13)), MUON, rng())
    assert np.median(displaced.columns["sip3d"]) > 10
    assert np.median(prompt.columns["sip3d"]) == pytest.approx(0.52, abs=0.05)


def test_leptons_of_an_event_are_ordered_by_pt() -> None:
    event: list[Row] = [
        (13, 1, -1, 20.0, 0.0, 0.0),
        (13, 1, -1, 60.0, 0.0, 2.0),
        (-13, 1, -1, 40.0, 0.0, -2.0),
    ]
    found = cms_leptons(record(*[event] * 50), MUON, rng())
    same = np.diff(found.event) == 0
    assert np.all(np.diff(found.columns["pt"])[same] <= 0)


def _spray(
    kinds: tuple[int, ...], *, pt: float, phi: float, ghosts: tuple[int, ...] = ()
) -> list[Row]:
    """Make a narrow jet of equal particles and the partons or hadrons behind it."""
    share = pt / len(kinds)
    rows: list[Row] = [
        (kind, 1, -1, share, 0.02 * i, phi + 0.01 * i) for i, kind in enumerate(kinds)
    ]
    return rows + [(ghost, -71, -1, 0.9 * pt, 0.0, phi) for ghost in ghosts]


PIONS = (211, -211, 211, -211, 130)


def test_jets_know_their_flavour_and_their_parton() -> None:
    event = [
        *_spray(PIONS, pt=100.0, phi=0.0, ghosts=(5, 511, 411)),
        *_spray(PIONS, pt=80.0, phi=1.5, ghosts=(4, 421)),
        *_spray(PIONS, pt=60.0, phi=3.0, ghosts=(21,)),
        *_spray(PIONS, pt=40.0, phi=-1.5, ghosts=(2,)),
    ]
    jets = cluster(record(event), np.array([True]))
    order = np.argsort(-jets.momentum[:, 3])
    assert jets.flavour[order].tolist() == [5, 4, 0, 0]
    assert jets.is_quark[order].tolist() == [True, True, False, True]
    assert jets.n_constituents.tolist() == [5] * 4


def test_ghosts_do_not_change_the_momentum() -> None:
    with_ghost = _spray(PIONS, pt=100.0, phi=0.0, ghosts=(5, 511))
    without = _spray(PIONS, pt=100.0, phi=0.0)
    jets = cluster(record(with_ghost, without), np.array([True, True]))
    assert jets.event.tolist() == [0, 1]
    assert jets.momentum[0] == pytest.approx(jets.momentum[1], rel=1e-12)
    pt = np.hypot(jets.momentum[0, 0], jets.momentum[0, 1])
    assert pt == pytest.approx(100.0, rel=1e-3)


def test_only_the_chosen_events_are_clustered() -> None:
    event = _spray(PIONS, pt=100.0, phi=0.0)
    jets = cluster(record(event, event, event), np.array([False, True, False]))
    assert jets.event.tolist() == [1]


def test_an_isolated_lepton_is_a_jet_that_the_lepton_veto_drops() -> None:
    muon: list[Row] = [
        (13, 1, -1, 50.0, 0.0, 0.0),
        (211, 1, -1, 2.0, 0.1, 0.1),
        (211, 1, -1, 2.0, -0.1, 0.1),
    ]
    jet = _spray(PIONS, pt=50.0, phi=3.0)
    found = reconstruct(
        cluster(record(*[muon + jet] * 200), np.ones(200, dtype=bool)), rng()
    )
    is_lepton = np.abs(found.columns["phi"].astype(float)) < 1.0
    assert is_lepton.sum() > 190
    assert set(found.columns["jetId"][is_lepton]) <= {0, 2}
    assert not found.counted[is_lepton].any()
    assert found.counted[~is_lepton].mean() > 0.9


def test_reconstructed_jets_are_ordered_by_pt_and_above_threshold() -> None:
    event = [
        *_spray(PIONS, pt=25.0, phi=0.0),
        *_spray(PIONS, pt=27.0, phi=1.5),
        *_spray(PIONS, pt=22.0, phi=3.0),
    ]
    found = reconstruct(
        cluster(record(*[event] * 100), np.ones(100, dtype=bool)), rng()
    )
    pt = found.columns["pt"].astype(float)
    assert pt.min() > 20.0
    assert np.all(np.diff(pt)[np.diff(found.event) == 0] <= 0)
    assert 100 < len(pt) < 300


def test_leptons_of_four_lepton_events_are_found_and_trigger() -> None:
    event: list[Row] = [
        (11, 1, -1, 45.0, 0.5, 0.0),
        (22, 1, -1, 5.0, 0.52, 0.0),
        (-11, 1, -1, 10.0, -0.5, 1.0),
        (13, 1, -1, 20.0, 2.6, 2.0),
        (-13, 1, -1, 5.0, 0.5, -2.0),
    ]
    true = true_leptons(record(*[event] * 2000))
    assert true.pt[:4].tolist() == [50.0, 10.0, 20.0, 5.0]
    leptons, triggered = atlas_leptons(true, 2000, rng())
    pt = leptons.pt
    assert np.all(np.diff(pt)[np.diff(leptons.event) == 0] <= 0)
    shares = [
        ((leptons.pdg_id == pdg_id).sum() / 2000) for pdg_id in (11, -11, 13, -13)
    ]
    assert shares == pytest.approx([0.887, 0.70, 0.82, 0.0], abs=0.03)
    assert triggered[ELECTRON].mean() == pytest.approx(0.887 * 0.92, abs=0.03)
    assert not triggered[MUON].any()


def test_charges_and_flavours_of_leptons_that_are_not_prompt_are_independent() -> None:
    n = 40_000
    pairs = nonprompt_pairs(n, rng())
    assert np.array_equal(pairs.event, np.repeat(np.arange(n), 2))
    opposite = np.sign(pairs.pdg_id).reshape(n, 2).sum(axis=1) == 0
    odd = pairs.kind.reshape(n, 2).sum(axis=1) == ELECTRON + MUON
    assert opposite.mean() == pytest.approx(100 / 172, abs=0.01)
    assert odd.mean() == pytest.approx(0.5, abs=0.01)
    assert np.corrcoef(opposite, odd)[0, 1] == pytest.approx(0, abs=0.02)
    both = true_leptons(record(*_isolated(13, n=2))).with_others(
        pairs.taken(np.arange(2))
    )
    assert both.event.tolist() == [0, 1, 0, 0]
    assert both.pt.tolist() == [40.0, 40.0, *pairs.pt[:2]]


def test_z_bosons_decay_to_four_massless_leptons_that_rebuild_them() -> None:
    mass = np.linspace(75.0, 110.0, 50)
    rest, pdg_id = four_lepton_decays(mass, rng())
    assert rest.sum(axis=1)[:, 0] == pytest.approx(mass)
    assert rest.sum(axis=1)[:, 1:] == pytest.approx(np.zeros((50, 3)), abs=1e-9)
    assert (pdg_id.sum(axis=1) == 0).all()
    frame = np.stack([np.hypot(mass, 30.0), *np.outer([0, 0, 30.0], mass / mass)], 1)
    moved = boosted(rest, frame)
    assert moved.sum(axis=1) == pytest.approx(frame)
    square = moved[..., 0] ** 2 - (moved[..., 1:] ** 2).sum(axis=-1)
    assert square == pytest.approx(np.zeros((50, 4)), abs=1e-9)


def test_the_decay_does_not_depend_on_the_order_of_equal_leptons() -> None:
    rest, _ = four_lepton_decays(np.full(20, 91.19), rng())
    one = _squared_amplitude(rest, same_flavour=True)
    for order in ([2, 1, 0, 3], [0, 3, 2, 1], [2, 3, 0, 1]):
        assert _squared_amplitude(rest[:, order], same_flavour=True) == pytest.approx(
            one
        )
