"""What Pythia generates for each of the nine samples, and how many events.

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
appear. `PhaseSpaceCut` has what is needed to give the sample its inclusive count.
The shower may emit harder than the first parton: restricted, as Pythia would do it by
default, more than ten times fewer events are selected than from the AGC's inputs;
unrestricted, the rate of events with an electron is 1.4 times theirs. The number of
events with one or two jets is then too large; the task never looks at them. The same
holds for the t-channel.

*Single top, s-channel.* The AGC's cross-section includes the leptonic branching
fraction of the W, so the top quark's W decays to leptons only. All other top quarks
decay inclusively.

*Systematic samples.* ``scaleup``/``scaledown``: factors of 2 on the renormalisation and
factorisation scales (4 on their squares, which is what Pythia's settings take) of the
hard process and of both showers. ``PS_var``: the Vincia antenna shower, its first
emission undamped; damped, it selects 30 % fewer events than the nominal sample, far
more than the AGC's two showers differ. ``ME_var``: the CTEQ6L1 parton densities, and no
emission above the factorisation scale of the hard process (the nominal sample damps
them smoothly, Pythia's default for top pairs after R. Corke and T. Sjostrand,
arXiv:1003.2384): what two matrix elements with different matching disagree on.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BASE_SEED", "COMMON", "RECIPES", "PhaseSpaceCut", "Recipe"]

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

_TTBAR = ("Top:gg2ttbar = on", "Top:qqbar2ttbar = on")
_LEPTONIC_W = ("24:onMode = off", "24:onIfAny = 11 13 15")


def _scales(factor: float) -> tuple[str, ...]:
    """Return the settings that multiply every scale by a factor."""
    settings = (
        "SigmaProcess:renormMultFac",
        "SigmaProcess:factorMultFac",
        "SpaceShower:renormMultFac",
        "SpaceShower:factorMultFac",
        "TimeShower:renormMultFac",
        "TimeShower:factorMultFac",
    )
    return tuple(f"{setting} = {factor**2:g}" for setting in settings)


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


@dataclass(frozen=True)
class PhaseSpaceCut:
    """Which part of a process a sample covers, and what it is a part of."""

    generated: tuple[str, ...]
    """Settings of the process with the cut."""

    inclusive: tuple[str, ...]
    """Settings of the whole process, at the same order of the W's cross-section."""


@dataclass(frozen=True)
class Recipe:
    """How one sample is generated."""

    summary: str
    """One line for the manifest."""

    settings: tuple[str, ...]
    """Pythia settings besides `COMMON`."""

    batches: int
    """How many batches the shipped sample has."""

    batch_size: int = 1000
    """Generated events in a batch."""

    cut: PhaseSpaceCut | None = None
    """Set where the sample leaves out a part of the process."""

    truth: bool = False
    """Whether the file gets GenPart columns."""


_WJET = (
    "WeakBosonAndParton:qqbar2Wg = on",
    "WeakBosonAndParton:qg2Wq = on",
    "PhaseSpace:pTHatMin = 20.",
    "SpaceShower:pTmaxMatch = 2",
    *_LEPTONIC_W,
)

#: One recipe for each of `agc.inputs.samples.SAMPLES`.
RECIPES = {
    "ttbar__nominal": Recipe(
        "gg, qqbar -> ttbar, simple shower",
        _TTBAR,
        batches=130,
        truth=True,
    ),
    "ttbar__scaledown": Recipe(
        "as nominal, all scales x 0.5", (*_TTBAR, *_scales(0.5)), batches=40
    ),
    "ttbar__scaleup": Recipe(
        "as nominal, all scales x 2", (*_TTBAR, *_scales(2.0)), batches=40
    ),
    "ttbar__ME_var": Recipe(
        "as nominal, CTEQ6L1 and no emission above the factorisation scale",
        (*_TTBAR, "PDF:pSet = 8", "SpaceShower:pTmaxMatch = 1"),
        batches=60,
    ),
    "ttbar__PS_var": Recipe(
        "gg, qqbar -> ttbar, Vincia shower",
        (
            *_TTBAR,
            "PartonShowers:model = 2",
            "Vincia:pTmaxMatch = 2",
            "Vincia:pTdampMatch = 0",
        ),
        batches=160,
        batch_size=250,
    ),
    "single_top_s_chan__nominal": Recipe(
        "q qbar' -> W* -> t b, t -> b l nu",
        ("Top:ffbar2tqbar(s:W) = on", *_LEPTONIC_W),
        batches=40,
    ),
    "single_top_t_chan__nominal": Recipe(
        "b q -> t q' by W exchange, unrestricted shower",
        ("Top:qq2tq(t:W) = on", "SpaceShower:pTmaxMatch = 2"),
        batches=120,
    ),
    "single_top_tW__nominal": Recipe(
        "b g -> t H-, the H- with the W's mass, width and decays",
        (
            "Higgs:useBSM = on",
            "HiggsBSM:bg2H+-t = on",
            "HiggsHchg:tanBeta = 1.",
            *_CHARGED_BOSON_LIKE_W,
        ),
        batches=45,
    ),
    "wjets__nominal": Recipe(
        "W(-> l nu) + parton with pTHat > 20 GeV, unrestricted shower",
        _WJET,
        batches=160,
        batch_size=2000,
        cut=PhaseSpaceCut(_WJET, ("WeakSingleBoson:ffbar2W = on", *_LEPTONIC_W)),
    ),
}
