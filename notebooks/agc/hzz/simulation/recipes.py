"""What is generated for each sample of the HZZ stand-in, and how many events.

Notes
-----
*llll.* Pythia's pairs of Z or virtual photon, and Z -> 4 leptons of
`agc.hzz.simulation.z_to_four_leptons` with the momentum of Pythia's Z bosons. The
first are normalised by the factor that takes Pythia's on-shell cross-section (both
pairs between 66 and 116 GeV) to the measured one, 17.3 pb (ATLAS, arXiv:1709.07703);
the second by the cross-section of the public Z -> mu mu sample times the ratio of the
branching fractions of Z -> 4 leptons (4.55e-6; e and mu, pairs above 4 GeV) and Z -> mu
mu (3.3662 %), both PDG 2024. With tau leptons and below 70 GeV the two add up to about
1.2 pb; the public sample has 1.2578 pb.

*Signal.* The cross-section of the public WH sample includes Z -> tau tau, those of ggH
and VBF do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from agc.hzz.samples import sample_named
from agc.simulation.processes import Recipe

__all__ = ["PSEUDODATA", "RECIPES", "FourLeptonRecipe"]

#: The name of the sample that stands for collision data.
PSEUDODATA = "data_standin"

_NO_HADRONS = ("HadronLevel:all = off",)
_Z_TO_LEPTONS = ("23:onMode = off", "23:onIfAny = 11 13")

#: Pythia's cross-section of pairs of Z bosons, both between 66 and 116 GeV, in pb.
_ONSHELL_PB = 8.74
#: The measured one.
_MEASURED_ONSHELL_PB = 17.3
#: Pythia's for what is generated: electrons and muons, m(4l) above 70 GeV, in pb.
_DIBOSON_PB = 0.0955

#: Z bosons between 70 and 115 GeV; they decay to nothing that radiates.
Z_BOSONS = (
    "WeakSingleBoson:ffbar2gmZ = on",
    "WeakZ0:gmZmode = 2",
    "PhaseSpace:mHatMin = 70.",
    "PhaseSpace:mHatMax = 115.",
    "23:onMode = off",
    "23:onIfAny = 12",
    *_NO_HADRONS,
)


@dataclass(frozen=True)
class FourLeptonRecipe(Recipe):
    """How one sample is generated, and what its events stand for."""

    xsec_pb: float = 0.0
    """The cross-section of what ``settings`` generate, in pb."""

    z_decays: int = 0
    """Z -> 4 lepton decays in a batch, beside its ``batch_size`` events."""

    z_decays_pb: float = 0.0
    """Their cross-section in pb."""

    @property
    def z_weight(self) -> float:
        """The ``mcWeight`` of a Z decay; that of the other events is 1."""
        if not self.z_decays:
            return 0.0
        return (self.z_decays_pb / self.z_decays) / (self.xsec_pb / self.batch_size)


def _higgs(*production: str) -> tuple[str, ...]:
    return (
        *production,
        "25:m0 = 125.",
        "25:onMode = off",
        "25:onIfMatch = 23 23",
        *_Z_TO_LEPTONS,
        *_NO_HADRONS,
    )


#: One recipe for each sample of the stand-in; the last one draws from all others.
RECIPES = {
    "llll": FourLeptonRecipe(
        "q qbar -> (Z/gamma*) (Z/gamma*) -> 4l, m(4l) > 70 GeV; and Z -> 4l",
        (
            "WeakDoubleBoson:ffbar2gmZgmZ = on",
            "23:mMin = 4.",
            "PhaseSpace:mHatMin = 70.",
            *_Z_TO_LEPTONS,
            *_NO_HADRONS,
        ),
        batches=16,
        xsec_pb=_DIBOSON_PB * _MEASURED_ONSHELL_PB / _ONSHELL_PB,
        z_decays=500,
        z_decays_pb=sample_named("Zmumu").xsec_pb * 4.55e-6 / 0.033662,
    ),
    "ggH125_ZZ4lep": FourLeptonRecipe(
        "gg -> H -> ZZ* -> 4l",
        _higgs("HiggsSM:gg2H = on"),
        batches=8,
        xsec_pb=sample_named("ggH125_ZZ4lep").xsec_pb,
    ),
    "VBFH125_ZZ4lep": FourLeptonRecipe(
        "q q -> q q H by W or Z fusion, H -> ZZ* -> 4l",
        _higgs("HiggsSM:ff2Hff(t:ZZ) = on", "HiggsSM:ff2Hff(t:WW) = on"),
        batches=1,
        xsec_pb=sample_named("VBFH125_ZZ4lep").xsec_pb,
    ),
    "WH125_ZZ4lep": FourLeptonRecipe(
        "q qbar' -> W H, H -> ZZ* -> 4l without tau leptons (4/9)",
        _higgs("HiggsSM:ffbar2HW = on"),
        batches=1,
        xsec_pb=sample_named("WH125_ZZ4lep").xsec_pb * 4 / 9,
    ),
    PSEUDODATA: FourLeptonRecipe(
        "what the luminosity gives of the samples above, with Poisson fluctuations",
        (),
        batches=1,
        batch_size=0,
    ),
}
