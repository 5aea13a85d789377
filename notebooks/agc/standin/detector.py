"""How well the imagined detector measures: pure functions with explicit randomness.

Notes
-----
Sources of the numbers, as far as there are any; what says *our choice* was set by us so
that the result looks right beside the 200 events of real CMS Open Data NanoAOD that
the tests read.

====================================  ==================================================
jet energy resolution                 15-20 % at 30 GeV, 10 % at 100 GeV, 5 % at 1 TeV:
                                      CMS JME-13-004 (arXiv:1607.03663); form and terms
                                      our choice
b-tag efficiencies at 0.5426, 0.8484  CSVv2 working points for b, c and light jets in
and 0.9535                            simulated ttbar: CMS BTV-16-002
                                      (arXiv:1712.07158), training of 2016; between the
                                      points and without tag: our choice
electron identification               95, 90, 80, 70 % for veto, loose, medium, tight:
                                      the working points' design efficiencies; isolation
                                      cuts of the 94X-tuned cut-based identification;
                                      how the rest is shared: our choice
muon identification and resolution    about 96 % tight, 1-3 % resolution: CMS
                                      MUO-16-001 (arXiv:1804.04528), rounded
impact parameter resolution           20 um at high pt, 100 um at 1 GeV: rounded from
                                      CMS TRK-11-001 (arXiv:1405.6569)
jet identification                    cuts on energy fractions as in CMS's tight and
                                      tight-lepton-veto definitions of 2015; 1 % random
                                      loss: our choice
quark-gluon likelihood, fake          our choice
leptons, electron resolution,
isolation noise
====================================  ==================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "ELECTRON",
    "MUON",
    "TRACKER_ABS_ETA",
    "btag",
    "electron_id",
    "impact_significance",
    "isolation",
    "jet_id",
    "jet_resolution",
    "lepton_resolution",
    "muon_id",
    "qgl",
    "response",
]

ELECTRON, MUON = 11, 13

#: Where the tracker ends, and with it tags and lepton identification.
TRACKER_ABS_ETA = 2.4
#: Where the barrel calorimeter ends.
_BARREL_ABS_ETA = 1.479

#: Noise, stochastic and constant term of the jet energy resolution.
_JET_TERMS = (3.0, 0.8, 0.04)
#: The leptons' relative resolution, in the barrel and outside.
_LEPTON_RESOLUTION = {ELECTRON: (0.02, 0.04), MUON: (0.013, 0.025)}
#: No measurement is below this fraction of the truth.
_MIN_RESPONSE = 0.1
#: Share of the tracks that are measured ten times worse than the others.
_BAD_TRACKS = 0.03

#: Share of electrons, and of hadrons, whose shower shape passes veto, loose, medium and
#: tight; with the isolation cuts below, about 95, 90, 80 and 70 % of prompt electrons
#: pass.
_SHOWER_SHAPE = ((0.97, 0.20), (0.94, 0.10), (0.87, 0.04), (0.79, 0.02))
#: Cut on the relative isolation, a + b / pt, for the same four.
_ELECTRON_ISOLATION = (
    (0.198, 0.506),
    (0.112, 0.506),
    (0.0478, 0.506),
    (0.0287, 0.506),
)
#: Share of muons, and of hadrons, that pass the tight identification.
_MUON_TIGHT = (0.96, 0.10)

#: Largest energy fraction of neutral hadrons, and of photons, in a tight jet.
_MAX_NEUTRAL = 0.9
#: Largest energy fraction of muons, and of electrons, in a jet that is no lepton.
_MAX_LEPTON = 0.8
#: Share of the good jets that pass.
_JETS_IDENTIFIED = 0.99

#: What CSVv2 says about a jet without usable tracks.
_NO_TAG = -10.0
#: Discriminant and the fraction of jets at or below it, by flavour. The first fraction
#: has no tag at all.
_CSV_DISCRIMINANT = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5426, 0.8484, 0.9535, 1.0)
_CSV_CUMULATIVE = {
    5: (0.015, 0.03, 0.07, 0.105, 0.14, 0.175, 0.19, 0.37, 0.59, 1.0),
    4: (0.06, 0.09, 0.26, 0.40, 0.51, 0.60, 0.63, 0.88, 0.978, 1.0),
    0: (0.20, 0.24, 0.56, 0.72, 0.81, 0.885, 0.911, 0.991, 0.999, 1.0),
}
#: What the quark-gluon likelihood says about a jet it was not computed for, and the
#: share of such jets.
_NO_QGL, _WITHOUT_QGL = -1.0, 0.1


def jet_resolution(pt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative resolution of jet energies: three terms in quadrature."""
    noise, stochastic, constant = _JET_TERMS
    return np.sqrt((noise / pt) ** 2 + stochastic**2 / pt + constant**2)


def lepton_resolution(kind: int, eta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative resolution of electron energies or muon momenta."""
    barrel, outside = _LEPTON_RESOLUTION[kind]
    return np.where(np.abs(eta) < _BARREL_ABS_ETA, barrel, outside)


def response(
    resolution: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw measured over true energy: normal around 1, never below 0.1."""
    return np.maximum(rng.normal(1.0, resolution), _MIN_RESPONSE)


def isolation(
    activity: NDArray[np.float64], pt: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the relative isolation of leptons: (activity + noise) / pt, not negative.

    The noise, 0.8 GeV wide, stands for what the correction for pile-up leaves.
    """
    return np.maximum(activity + rng.normal(0.0, 0.8, len(pt)), 0.0) / pt


def impact_significance(
    distance_mm: NDArray[np.float64],
    pt: NDArray[np.float64],
    noise: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the significance of three-dimensional impact parameters.

    The error is ``noise`` times wider than the resolution says; 3 % of the tracks are
    measured ten times worse.
    """
    sigma_mm = np.hypot(0.020, 0.100 / pt)
    tail = np.where(rng.random(len(pt)) < _BAD_TRACKS, 10.0, 1.0)
    along, across = rng.normal(0.0, noise, (2, len(pt))) * tail
    significance: NDArray[np.float64] = np.hypot(distance_mm / sigma_mm + along, across)
    return significance


def electron_id(
    genuine: NDArray[np.bool_],
    relative_isolation: NDArray[np.float64],
    pt: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Return 0 fail, 1 veto, 2 loose, 3 medium, 4 tight; each includes those below."""
    quality = rng.random(len(pt))
    level = np.zeros(len(pt), dtype=np.int32)
    passed = np.ones(len(pt), dtype=bool)
    for shares, (constant, slope) in zip(
        _SHOWER_SHAPE, _ELECTRON_ISOLATION, strict=True
    ):
        passed &= quality < np.where(genuine, *shares)
        passed &= relative_isolation < constant + slope / pt
        level += passed
    return level


def muon_id(genuine: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which muons, and which hadrons, pass the tight identification."""
    return rng.random(len(genuine)) < np.where(genuine, *_MUON_TIGHT)


def jet_id(
    fractions: dict[str, NDArray[np.float64]],
    n_constituents: NDArray[np.int64],
    eta: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """Return 0 fail, 2 tight, 6 tight and not a lepton, from energy fractions."""
    tight = (
        (fractions["neutral"] < _MAX_NEUTRAL)
        & (fractions["photon"] < _MAX_NEUTRAL)
        & (n_constituents > 1)
    )
    central = np.abs(eta) < TRACKER_ABS_ETA
    tight &= ~central | (fractions["charged"] > 0) | (fractions["muon"] > 0)
    tight &= rng.random(len(eta)) < _JETS_IDENTIFIED
    no_lepton = (fractions["muon"] < _MAX_LEPTON) & (
        fractions["electron"] < _MAX_LEPTON
    )
    return np.where(tight, np.where(no_lepton, 6, 2), 0).astype(np.int32)


def btag(
    flavour: NDArray[np.int64], eta: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the b-tag discriminant of jets of flavour 5, 4 or 0.

    From 0 to 1; -10 without a tag, as for every jet outside the tracker. The
    distribution depends on the flavour only (our choice).
    """
    u = rng.random(len(flavour))
    value = np.full(len(flavour), _NO_TAG)
    for known, cumulative in _CSV_CUMULATIVE.items():
        here = (flavour == known) & (u > cumulative[0])
        value[here] = np.interp(u[here], cumulative, _CSV_DISCRIMINANT)
    value[np.abs(eta) > TRACKER_ABS_ETA] = _NO_TAG
    return value


def qgl(is_quark: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the quark-gluon likelihood of jets: 0 (gluon) to 1 (quark), or -1."""
    quark = rng.beta(1.3, 0.55, len(is_quark))
    gluon = rng.beta(0.5, 1.4, len(is_quark))
    value = np.where(is_quark, quark, gluon)
    return np.where(rng.random(len(is_quark)) < _WITHOUT_QGL, _NO_QGL, value)
