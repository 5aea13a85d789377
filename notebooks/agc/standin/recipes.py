"""What Pythia generates for each sample of both tasks, and how many events.

Notes
-----
Everything that is not set here is Pythia's default (the Monash 2013 tune, NNPDF2.3 LO).

*Left out on purpose.* Multiparton interactions are off, which makes generation four
times faster; the energy they would add to jets and to isolation cones is missing. There
is no pile-up.

*tW.* Pythia 8 has no W t process. ``HiggsBSM:bg2H+-t`` has the same initial state,
topology and colour flow, b g -> t + charged boson; the boson gets the mass, the width
and the branching fractions of the W. What is lost: it is a scalar, so the decay angles
carry no polarisation, and the coupling grows with the quark's mass instead of being
V-A. The cross-section is the AGC's in any case.

*W+jets.* One unweighted sample of W(-> l nu) + parton above ``PhaseSpace:pTHatMin``,
the rest of the jets from the shower. Inclusive generation would spend three quarters
of its events below the threshold, where four jets above 30 GeV practically never
appear. `Recipe.inclusive` has what is needed to give the sample its inclusive count.
The shower may emit harder than the first parton: restricted, as Pythia would do it by
default, more than ten times fewer events are selected than from the AGC's inputs;
unrestricted, the rate of events with an electron is 1.4 times theirs. The number of
events with one or two jets is then too large; the task never looks at them. The same
holds for the t-channel.

*Single top, s-channel.* The AGC's cross-section includes the leptonic branching
fraction of the W, so the top quark's W decays to leptons only. All other top quarks
decay inclusively.

*Leptons.* Of top pairs, the t-channel and tW only events with a lepton in the hard
process, decays included, are followed; the others count in the normalisation. What is
lost are leptons from hadrons and hadrons taken for leptons beside hadronic decays only:
one selected top pair in 760.

*Systematic samples.* ``scaleup``/``scaledown``: factors of 2 on the renormalisation and
factorisation scales (4 on their squares, which is what Pythia's settings take) of the
hard process and of both showers. ``PS_var``: the Vincia antenna shower, its first
emission undamped; damped, it selects 30 % fewer events than the nominal sample, far
more than the AGC's two showers differ. ``ME_var``: the CTEQ6L1 parton densities, and no
emission above the factorisation scale of the hard process (the nominal sample damps
them smoothly, Pythia's default for top pairs after R. Corke and T. Sjostrand,
arXiv:1003.2384): what two matrix elements with different matching disagree on.

*llll.* Pythia's pairs of Z or virtual photon, and the Z -> 4 leptons of `z_decays` with
the momentum of Pythia's Z bosons. The first are normalised by the factor that takes
Pythia's on-shell cross-section (both pairs between 66 and 116 GeV) to the measured one,
17.3 pb (ATLAS, arXiv:1709.07703); the second by the cross-section of the public Z -> mu
mu sample times the ratio of the branching fractions of Z -> 4 leptons (4.55e-6; e and
mu, pairs above 4 GeV) and Z -> mu mu (3.3662 %), both PDG 2024. With tau leptons and
below 70 GeV the two add up to about 1.2 pb; the public sample has 1.2578 pb.

*Reducible background.* What a Z boson or a top pair has of leptons that are not prompt
needs a million events for each that is selected. In the pseudo-data there are Pythia's
Z bosons with two such leptons of `leptons.nonprompt_pairs`; their cross-section gives
about the 344 events of the collision data's control and signal regions (our choice).

*Higgs boson.* The cross-section of the public WH sample includes Z -> tau tau, those of
ggH and VBF do not.
"""

from __future__ import annotations

from dataclasses import dataclass

from agc.hzz.samples import sample_named

__all__ = [
    "BASE_SEED",
    "COMMON",
    "HZZ",
    "LEPTONIC_Z",
    "PSEUDODATA",
    "TTBAR",
    "Z_BOSONS",
    "Recipe",
]

#: Seed of everything; each batch of each sample derives its own from it.
BASE_SEED = 20151113

#: Settings of every sample. Source of the top mass: the value of the CMS samples of
#: 2015. Particles with c tau above 10 mm are stable, as usual at the LHC.
COMMON = (
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13000.",
    "6:m0 = 172.5",
    "PartonLevel:MPI = off",
    "ParticleDecays:limitTau0 = on",
    "ParticleDecays:tau0Max = 10.",
    "Print:quiet = on",
)

#: The name of the HZZ sample that stands for collision data.
PSEUDODATA = "data_standin"


@dataclass(frozen=True)
class Recipe:
    """How one sample is generated, and what its events stand for."""

    summary: str
    """The process in words."""

    settings: tuple[str, ...]
    """Pythia's settings besides `COMMON`."""

    batches: int
    """How many batches the shipped sample has."""

    batch_size: int = 1000
    """Events in a batch that are followed from the hard process to the detector."""

    leptonic: bool = False
    """Whether only events with a lepton from the hard process are followed."""

    inclusive: tuple[str, ...] = ()
    """Settings of the whole process, where ``settings`` generate a part of it."""

    truth: bool = False
    """Whether the file gets GenPart columns."""

    xsec_pb: float = 0.0
    """HZZ: the cross-section of what ``settings`` generate, in pb."""

    z_decays: int = 0
    """HZZ: Z -> 4 lepton decays in a batch, beside its ``batch_size`` events."""

    z_decays_pb: float = 0.0
    """HZZ: their cross-section in pb."""

    reducible_pb: float = 0.0
    """HZZ pseudo-data: the cross-section of a Z boson and two leptons that are not
    prompt, before what the detector finds of all four, in pb."""

    @property
    def z_weight(self) -> float:
        """The ``mcWeight`` of a Z decay; that of the other events is 1."""
        if not self.z_decays:
            return 0.0
        return (self.z_decays_pb / self.z_decays) / (self.xsec_pb / self.batch_size)


def _scales(factor: float) -> tuple[str, ...]:
    """Return the settings that multiply every scale by a factor."""
    places = ("SigmaProcess", "SpaceShower", "TimeShower")
    return tuple(
        f"{place}:{scale}MultFac = {factor**2:g}"
        for place in places
        for scale in ("renorm", "factor")
    )


#: Branching fractions of the W boson by final state (PDG 2014, rounded; unitary CKM).
_W_DECAYS = (
    (0.1086, "-11 12"),
    (0.1086, "-13 14"),
    (0.1086, "-15 16"),
    (0.3205, "-1 2"),
    (0.0166, "-3 2"),
    (0.3205, "-3 4"),
    (0.0166, "-1 4"),
)
_CHARGED_BOSON_LIKE_W = (
    "37:m0 = 80.385",
    "37:mWidth = 2.085",
    "37:doForceWidth = on",
    "37:mMin = 50.",
    "37:mMax = 120.",
    *(
        f"37:{'addChannel' if i else 'oneChannel'} = 1 {fraction} 101 {products}"
        for i, (fraction, products) in enumerate(_W_DECAYS)
    ),
    "6:onMode = off",
    "6:onIfAny = 24",
)
_TOP_PAIR = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")
_LEPTONIC_W = ("24:onMode = off", "24:onIfAny = 11 13 15")

#: One recipe for each of the ttbar task's samples.
TTBAR = {
    "ttbar__nominal": Recipe(
        "gg, qqbar -> ttbar, simple shower",
        _TOP_PAIR,
        batches=280,
        leptonic=True,
        truth=True,
    ),
    "ttbar__scaledown": Recipe(
        "as nominal, all scales x 0.5",
        (*_TOP_PAIR, *_scales(0.5)),
        batches=110,
        leptonic=True,
    ),
    "ttbar__scaleup": Recipe(
        "as nominal, all scales x 2",
        (*_TOP_PAIR, *_scales(2.0)),
        batches=110,
        leptonic=True,
    ),
    "ttbar__ME_var": Recipe(
        "as nominal, CTEQ6L1 and no emission above the factorisation scale",
        (*_TOP_PAIR, "PDF:pSet = 8", "SpaceShower:pTmaxMatch = 1"),
        batches=200,
        leptonic=True,
    ),
    "ttbar__PS_var": Recipe(
        "gg, qqbar -> ttbar, Vincia shower",
        (
            *_TOP_PAIR,
            "PartonShowers:model = 2",
            "Vincia:pTmaxMatch = 2",
            "Vincia:pTdampMatch = 0",
        ),
        batches=320,
        batch_size=250,
        leptonic=True,
    ),
    "single_top_s_chan__nominal": Recipe(
        "q qbar' -> W* -> t b, t -> b l nu",
        ("Top:ffbar2tqbar(s:W) = on", *_LEPTONIC_W),
        batches=40,
    ),
    "single_top_t_chan__nominal": Recipe(
        "b q -> t q' by W exchange, unrestricted shower",
        ("Top:qq2tq(t:W) = on", "SpaceShower:pTmaxMatch = 2"),
        batches=60,
        leptonic=True,
    ),
    "single_top_tW__nominal": Recipe(
        "b g -> t H-, the H- with the W's mass, width and decays",
        (
            "Higgs:useBSM = on",
            "HiggsBSM:bg2H+-t = on",
            "HiggsHchg:tanBeta = 1.",
            *_CHARGED_BOSON_LIKE_W,
        ),
        batches=40,
        leptonic=True,
    ),
    "wjets__nominal": Recipe(
        "W(-> l nu) + parton with pTHat > 20 GeV, unrestricted shower",
        (
            "WeakBosonAndParton:qqbar2Wg = on",
            "WeakBosonAndParton:qg2Wq = on",
            "PhaseSpace:pTHatMin = 20.",
            "SpaceShower:pTmaxMatch = 2",
            *_LEPTONIC_W,
        ),
        batches=280,
        batch_size=2000,
        inclusive=("WeakSingleBoson:ffbar2W = on", *_LEPTONIC_W),
    ),
}

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

#: Z bosons and virtual photons that decay to leptons, beside which others are found.
LEPTONIC_Z = (
    *Z_BOSONS,
    "WeakZ0:gmZmode = 0",
    "PhaseSpace:mHatMin = 40.",
    *_Z_TO_LEPTONS,
)


def _higgs(*production: str) -> tuple[str, ...]:
    decay = ("25:m0 = 125.", "25:onMode = off", "25:onIfMatch = 23 23")
    return (*production, *decay, *_Z_TO_LEPTONS, *_NO_HADRONS)


#: One recipe for each sample of the HZZ task; the last one draws from all others.
HZZ = {
    "llll": Recipe(
        "q qbar -> (Z/gamma*) (Z/gamma*) -> 4l, m(4l) > 70 GeV; and Z -> 4l",
        (
            "WeakDoubleBoson:ffbar2gmZgmZ = on",
            "23:mMin = 4.",
            "PhaseSpace:mHatMin = 70.",
            *_Z_TO_LEPTONS,
            *_NO_HADRONS,
        ),
        batches=48,
        xsec_pb=_DIBOSON_PB * _MEASURED_ONSHELL_PB / _ONSHELL_PB,
        z_decays=1200,
        z_decays_pb=sample_named("Zmumu").xsec_pb * 4.55e-6 / 0.033662,
    ),
    "ggH125_ZZ4lep": Recipe(
        "gg -> H -> ZZ* -> 4l",
        _higgs("HiggsSM:gg2H = on"),
        batches=8,
        xsec_pb=sample_named("ggH125_ZZ4lep").xsec_pb,
    ),
    "VBFH125_ZZ4lep": Recipe(
        "q q -> q q H by W or Z fusion, H -> ZZ* -> 4l",
        _higgs("HiggsSM:ff2Hff(t:ZZ) = on", "HiggsSM:ff2Hff(t:WW) = on"),
        batches=1,
        xsec_pb=sample_named("VBFH125_ZZ4lep").xsec_pb,
    ),
    "WH125_ZZ4lep": Recipe(
        "q qbar' -> W H, H -> ZZ* -> 4l without tau leptons (4/9)",
        _higgs("HiggsSM:ffbar2HW = on"),
        batches=1,
        xsec_pb=sample_named("WH125_ZZ4lep").xsec_pb * 4 / 9,
    ),
    PSEUDODATA: Recipe(
        "what the luminosity gives of the samples above, with Poisson fluctuations, "
        "and of the reducible background: Z -> 2l and two leptons that are not prompt",
        LEPTONIC_Z,
        batches=1,
        batch_size=0,
        reducible_pb=0.333,
    ),
}
