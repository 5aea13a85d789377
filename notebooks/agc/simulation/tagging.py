"""The b tag and the quark-gluon likelihood of jets, drawn by true flavour.

The numbers' sources are in the table of `agc.simulation.detector`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from agc.simulation.detector import TRACKER_ABS_ETA

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NO_QGL", "NO_TAG", "btag", "qgl"]

#: What CSVv2 says about a jet without usable tracks.
NO_TAG = -10.0
#: What the quark-gluon likelihood says about a jet it was not computed for.
NO_QGL = -1.0
#: Discriminant and the fraction of jets at or below it, by flavour. The first fraction
#: has no tag at all.
_CSV_DISCRIMINANT = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.5426, 0.8484, 0.9535, 1.0)
_CSV_CUMULATIVE = {
    5: (0.015, 0.03, 0.07, 0.105, 0.14, 0.175, 0.19, 0.37, 0.59, 1.0),
    4: (0.06, 0.09, 0.26, 0.40, 0.51, 0.60, 0.63, 0.88, 0.978, 1.0),
    0: (0.20, 0.24, 0.56, 0.72, 0.81, 0.885, 0.911, 0.991, 0.999, 1.0),
}

#: Share of the jets without a quark-gluon likelihood.
_WITHOUT_QGL = 0.1


def btag(
    flavour: NDArray[np.int64], eta: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw the b-tag discriminant of jets.

    Parameters
    ----------
    flavour
        5 for b jets, 4 for c jets, 0 for the others.
    eta
        Pseudorapidity.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray of float64
        From 0 to 1; -10 without a tag, as for every jet outside the tracker. The
        distribution depends on the flavour only (our choice).
    """
    u = rng.random(len(flavour))
    value = np.full(len(flavour), NO_TAG)
    for known, cumulative in _CSV_CUMULATIVE.items():
        here = (flavour == known) & (u > cumulative[0])
        value[here] = np.interp(u[here], cumulative, _CSV_DISCRIMINANT)
    value[np.abs(eta) > TRACKER_ABS_ETA] = NO_TAG
    return value


def qgl(is_quark: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw the quark-gluon likelihood of jets.

    Parameters
    ----------
    is_quark
        Whether the hardest parton in the jet is a quark.
    rng
        Source of randomness.

    Returns
    -------
    numpy.ndarray of float64
        From 0 (gluon) to 1 (quark); -1 for one jet in ten.
    """
    quark = rng.beta(1.3, 0.55, len(is_quark))
    gluon = rng.beta(0.5, 1.4, len(is_quark))
    value = np.where(is_quark, quark, gluon)
    return np.where(rng.random(len(is_quark)) < _WITHOUT_QGL, NO_QGL, value)
