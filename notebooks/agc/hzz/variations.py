"""The systematic variations of the HZZ task, described once.

The histograms and the fit both read `SYSTEMATICS`. They are the AGC's, which means them
as a technical example: the size of the scale factors' uncertainty and of the mass
scale's is not ATLAS's.
"""

from __future__ import annotations

from typing import NamedTuple

from agc.hzz.samples import PROCESSES
from agc.inputs.variations import NOMINAL, Systematic

__all__ = ["NOMINAL", "SYSTEMATICS", "VARIATIONS", "ZZ_NORM_UNCERTAINTY", "Factors"]


class Factors(NamedTuple):
    """What a variation multiplies."""

    weight: float = 1.0
    """The event's weight."""

    mass: float = 1.0
    """The four-lepton mass."""


#: One nuisance parameter of the fit each, on every simulated process.
SYSTEMATICS = (
    Systematic(
        "Scalefactor_variation",
        "weight",
        PROCESSES,
        "scaleFactorUP",
        "scaleFactorDOWN",
    ),
    Systematic("m4l_variation", "kinematic", PROCESSES, "m4lUP", "m4lDOWN"),
)

#: Every label of the histograms' variation axis, with its factors; `NOMINAL` first.
#: Source: the AGC reference implementation (iris-hep/analysis-grand-challenge).
VARIATIONS = {
    NOMINAL: Factors(),
    "scaleFactorUP": Factors(weight=1.1),
    "scaleFactorDOWN": Factors(weight=0.9),
    "m4lUP": Factors(mass=1.01),
    "m4lDOWN": Factors(mass=0.99),
}

#: Relative uncertainty of the ZZ cross-section.
ZZ_NORM_UNCERTAINTY = 0.1
