"""How well the imagined detector measures: pure functions with explicit randomness.

`identification` and `tagging` are the other two parts of it.

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
    "BARREL_ABS_ETA",
    "TRACKER_ABS_ETA",
    "electron_resolution",
    "impact_significance",
    "isolation",
    "jet_resolution",
    "muon_resolution",
    "response",
]

#: Where the tracker ends, and with it tags and lepton identification.
TRACKER_ABS_ETA = 2.4
#: Where the barrel calorimeter ends.
BARREL_ABS_ETA = 1.479

#: Noise, stochastic and constant term of the jet energy resolution.
_JET_TERMS = (3.0, 0.8, 0.04)
#: No measurement is below this fraction of the truth.
_MIN_RESPONSE = 0.1

#: Share of the tracks that are measured ten times worse than the others.
_BAD_TRACKS = 0.03


def jet_resolution(pt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative resolution of jet energies.

    Parameters
    ----------
    pt
        Transverse momentum in GeV.

    Returns
    -------
    numpy.ndarray of float64
        Noise / pt, stochastic term / sqrt(pt) and constant term in quadrature.
    """
    noise, stochastic, constant = _JET_TERMS
    return np.sqrt((noise / pt) ** 2 + stochastic**2 / pt + constant**2)


def electron_resolution(eta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative resolution of electron energies.

    Parameters
    ----------
    eta
        Pseudorapidity.

    Returns
    -------
    numpy.ndarray of float64
        2 % in the barrel, 4 % outside.
    """
    return np.where(np.abs(eta) < BARREL_ABS_ETA, 0.02, 0.04)


def muon_resolution(eta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative resolution of muon momenta.

    Parameters
    ----------
    eta
        Pseudorapidity.

    Returns
    -------
    numpy.ndarray of float64
        1.3 % in the barrel, 2.5 % outside.
    """
    return np.where(np.abs(eta) < BARREL_ABS_ETA, 0.013, 0.025)


def response(
    resolution: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw measured over true energy.

    Parameters
    ----------
    resolution
        Relative resolutions.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray of float64
        Normal around 1, never below 0.1.
    """
    return np.maximum(rng.normal(1.0, resolution), _MIN_RESPONSE)


def isolation(
    activity: NDArray[np.float64], pt: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the relative isolation of leptons.

    Parameters
    ----------
    activity
        Sum of the transverse momenta around the lepton in GeV.
    pt
        The lepton's transverse momentum in GeV.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray of float64
        (activity + noise) / pt, not negative. The noise, 0.8 GeV wide, stands for what
        the correction for pile-up leaves.
    """
    return np.maximum(activity + rng.normal(0.0, 0.8, len(pt)), 0.0) / pt


def impact_significance(
    distance_mm: NDArray[np.float64],
    pt: NDArray[np.float64],
    noise: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the significance of three-dimensional impact parameters.

    Parameters
    ----------
    distance_mm
        True distance of closest approach to the collision in mm.
    pt
        Transverse momentum in GeV.
    noise
        How much wider the error is than the resolution says.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray of float64
        Not negative. 3 % of the tracks are measured ten times worse.
    """
    sigma_mm = np.hypot(0.020, 0.100 / pt)
    tail = np.where(rng.random(len(pt)) < _BAD_TRACKS, 10.0, 1.0)
    along, across = rng.normal(0.0, noise, (2, len(pt))) * tail
    significance: NDArray[np.float64] = np.hypot(distance_mm / sigma_mm + along, across)
    return significance
