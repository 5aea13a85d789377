"""The features of a jet assignment: names, labels and histogram ranges.

A feature's place in `FEATURES` is its column in what the BDT is given.
"""

from __future__ import annotations

from dataclasses import dataclass

from agc.hists.build import N_BINS
from agc.inputs.config import Variable
from agc.ttbar.permutations import Role

__all__ = ["FEATURES", "feature_variables"]


@dataclass(frozen=True)
class Feature:
    """One input of the jet-assignment BDT and its histogram's range."""

    name: str
    """As the AGC calls it."""

    label: str
    """The axis label, with its unit."""

    low: float
    """Lower edge of the histogram."""

    high: float
    """Upper edge of the histogram."""

    roles: tuple[Role, ...]
    """The jets it depends on: permutations with the same ones share its value."""


_QGL = "Quark-gluon likelihood of the"

#: Order, names and ranges are those of the AGC reference implementation (c37bf59),
#: whose published models depend on them.
FEATURES = (
    Feature("deltar_leptonbtoplep", r"$\Delta R(\ell, b_{lep})$", 0, 6, ("b_lep",)),
    Feature("deltar_w1w2", r"$\Delta R(W_1, W_2)$", 0, 6, ("w1", "w2")),
    Feature("deltar_w1btophad", r"$\Delta R(W_1, b_{had})$", 0, 6, ("w1", "b_had")),
    Feature("deltar_w2btophad", r"$\Delta R(W_2, b_{had})$", 0, 6, ("w2", "b_had")),
    Feature("mass_leptonbtoplep", r"$m(\ell\,b_{lep})$ [GeV]", 50, 300, ("b_lep",)),
    Feature("mass_w1w2", r"$m(W_1 W_2)$ [GeV]", 50, 300, ("w1", "w2")),
    Feature(
        "mass_w1w2btophad",
        r"$m(W_1 W_2 b_{had})$ [GeV]",
        50,
        550,
        ("w1", "w2", "b_had"),
    ),
    Feature(
        "pt_w1w2btophad",
        r"$p_T(W_1 W_2 b_{had})$ [GeV]",
        50,
        550,
        ("w1", "w2", "b_had"),
    ),
    Feature("pt_w1", r"$p_T(W_1)$ [GeV]", 25, 300, ("w1",)),
    Feature("pt_w2", r"$p_T(W_2)$ [GeV]", 25, 300, ("w2",)),
    Feature("pt_btophad", r"$p_T(b_{had})$ [GeV]", 25, 300, ("b_had",)),
    Feature("pt_btoplep", r"$p_T(b_{lep})$ [GeV]", 25, 300, ("b_lep",)),
    Feature("btag_w1", r"CSVv2 of $W_1$", 0, 1, ("w1",)),
    Feature("btag_w2", r"CSVv2 of $W_2$", 0, 1, ("w2",)),
    Feature("btag_btophad", r"CSVv2 of $b_{had}$", 0, 1, ("b_had",)),
    Feature("btag_btoplep", r"CSVv2 of $b_{lep}$", 0, 1, ("b_lep",)),
    Feature("qgl_w1", rf"{_QGL} $W_1$", -1, 1, ("w1",)),
    Feature("qgl_w2", rf"{_QGL} $W_2$", -1, 1, ("w2",)),
    Feature("qgl_btophad", rf"{_QGL} $b_{{had}}$", -1, 1, ("b_had",)),
    Feature("qgl_btoplep", rf"{_QGL} $b_{{lep}}$", -1, 1, ("b_lep",)),
)


def feature_variables() -> dict[str, Variable]:
    """Return each feature of the best permutation as what is histogrammed of it."""
    return {
        feature.name: Variable(
            feature.label, "4j2b", (N_BINS, feature.low, feature.high)
        )
        for feature in FEATURES
    }
