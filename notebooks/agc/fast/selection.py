"""The ttbar task's selection: one compiled function for each concept.

Every constant stands here once. Energies and momenta are in GeV.

Notes
-----
Limits that float32 cannot hold exactly are rounded to it: the columns are float32, and
arrays of them are compared in float32 wherever they are cut on as a whole.

Cuts are those of the AGC reference implementation
(iris-hep/analysis-grand-challenge c37bf59): no trigger, no missing-energy cut, no
lepton-jet cleaning. A comparison with NaN is false, so an object with a NaN in a
quantity that is cut on is not selected.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from agc.compiled import compiled

if TYPE_CHECKING:
    from agc.inputs.columns import BoolArray, FloatArray

__all__ = [
    "BTAG_THRESHOLD",
    "MIN_JETS",
    "is_btagged",
    "is_selected_electron",
    "is_selected_muon",
    "jet_passes_identification",
    "passes_jet_pt",
    "trijet_mass",
]

LEPTON_PT_MIN = 30.0
LEPTON_ETA_MAX = np.float32(2.1)
LEPTON_SIP3D_MAX = 4.0
#: NanoAOD's cut-based identification: 4 is the tight working point.
ELECTRON_TIGHT = 4
MUON_ISOLATION_MAX = np.float32(0.15)

JET_PT_MIN = 30.0
JET_ETA_MAX = np.float32(2.4)
#: Bit 2 of NanoAOD's ``jetId``: tight identification with lepton veto. The values
#: seen in the inputs are 0, 2 (tight) and 6 (tight, and with the veto too).
JET_ID_TIGHT_LEPTON_VETO = 1 << 2

BTAG_THRESHOLD = 0.5
MIN_JETS = 4


@compiled
def is_selected_electron(pt: float, eta: float, cut_based: int, sip3d: float) -> bool:
    """Tell whether an electron counts as the event's lepton."""
    return bool(
        pt > LEPTON_PT_MIN
        and abs(eta) < LEPTON_ETA_MAX
        and cut_based == ELECTRON_TIGHT
        and sip3d < LEPTON_SIP3D_MAX
    )


@compiled
def is_selected_muon(
    pt: float,
    eta: float,
    tight_id: bool,  # noqa: FBT001 - a column's value, not an option
    sip3d: float,
    isolation: float,
) -> bool:
    """Tell whether a muon counts as the event's lepton."""
    return bool(
        pt > LEPTON_PT_MIN
        and abs(eta) < LEPTON_ETA_MAX
        and tight_id
        and sip3d < LEPTON_SIP3D_MAX
        and isolation < MUON_ISOLATION_MAX
    )


@compiled
def jet_passes_identification(eta: float, jet_id: int) -> bool:
    """Tell whether a jet passes the cuts that no pt variation changes."""
    return bool(abs(eta) < JET_ETA_MAX and (jet_id & JET_ID_TIGHT_LEPTON_VETO) != 0)


@compiled
def passes_jet_pt(pt: float) -> bool:
    """Tell whether a jet's pt, after a variation, passes the cut."""
    return pt > JET_PT_MIN


@compiled
def is_btagged(discriminant: float) -> bool:
    """Tell whether a jet counts as b-tagged."""
    return discriminant > BTAG_THRESHOLD


@compiled
def trijet_mass(
    px: FloatArray,
    py: FloatArray,
    pz: FloatArray,
    energy: FloatArray,
    tagged: BoolArray,
) -> float:
    """Return the mass in GeV of the b-tagged three-jet system with the largest pt.

    The selected jets, in GeV and shape (jets,), are in the file's order. Three of them,
    at least one of them b-tagged, make a system; of those whose vector sums have equal
    pt the first in lexicographic order wins. The mass is negative where its square is
    (space-like by rounding), and NaN where no combination has a b-tag.
    """
    n = len(px)
    best_pt2, first, second, third = -1.0, 0, 0, 0
    for i in range(n - 2):
        for j in range(i + 1, n - 1):
            pair_px, pair_py = px[i] + px[j], py[i] + py[j]
            pair_tagged = tagged[i] or tagged[j]
            for k in range(j + 1, n):
                if pair_tagged or tagged[k]:
                    pt2 = (pair_px + px[k]) ** 2 + (pair_py + py[k]) ** 2
                    if pt2 > best_pt2:
                        best_pt2, first, second, third = pt2, i, j, k
    if best_pt2 < 0.0:
        return math.nan
    mass2 = (
        (energy[first] + energy[second] + energy[third]) ** 2
        - best_pt2
        - (pz[first] + pz[second] + pz[third]) ** 2
    )
    return math.copysign(math.sqrt(abs(mass2)), mass2)
