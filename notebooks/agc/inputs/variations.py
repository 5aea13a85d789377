"""The systematic variations of the ttbar task, described once.

The kernel, the histograms and the fit all read `SYSTEMATICS`: a variation that is
added here is computed, filled and fitted.

Notes
-----
Formulas and names follow the AGC reference implementation
(iris-hep/analysis-grand-challenge c37bf59).
"""

from __future__ import annotations

from agc.inputs.config import NOMINAL, Systematic
from agc.inputs.samples import PROCESSES, SAMPLES

__all__ = [
    "BTAG_VAR_PER_50_GEV",
    "KINEMATIC_VARIATIONS",
    "LUMI_UNCERTAINTY",
    "NOMINAL",
    "N_BTAG_VARIATIONS",
    "PT_RES_SIGMA",
    "PT_SCALE_UP",
    "SCALE_VAR",
    "SYSTEMATICS",
    "VARIATIONS",
    "Systematic",
    "variations_of",
]

#: The jet energy scale, one-sided: every jet's pt times this factor.
PT_SCALE_UP = 1.03
#: Relative width of the Gaussian that smears every jet's pt.
PT_RES_SIGMA = 0.05
#: Relative change of the event weight per 50 GeV of the i-th selected jet's pt.
BTAG_VAR_PER_50_GEV = 0.075
#: One b-tag nuisance parameter for each of the four leading selected jets.
N_BTAG_VARIATIONS = 4
#: Relative change of the W+jets weight.
SCALE_VAR = 0.025
#: Relative uncertainty of the luminosity, on every sample.
LUMI_UNCERTAINTY = 0.03


SYSTEMATICS = (
    Systematic("ME variation", "sample", ("ttbar",), "ME_var"),
    Systematic("PS variation", "sample", ("ttbar",), "PS_var"),
    Systematic("ttbar scale variations", "sample", ("ttbar",), "scaleup", "scaledown"),
    Systematic("Jet energy scale", "kinematic", PROCESSES, "pt_scale_up"),
    Systematic("Jet energy resolution", "kinematic", PROCESSES, "pt_res_up"),
    *(
        Systematic(
            f"b-tag NP {i + 1}",
            "weight",
            PROCESSES,
            f"btag_var_{i}_up",
            f"btag_var_{i}_down",
        )
        for i in range(N_BTAG_VARIATIONS)
    ),
    Systematic(
        "W+jets scale variations",
        "weight",
        ("wjets",),
        "scale_var_up",
        "scale_var_down",
    ),
)

#: Every label of the histograms' variation axis, `NOMINAL` first.
VARIATIONS = (
    NOMINAL,
    *(name for systematic in SYSTEMATICS for name in systematic.variations),
)

#: The labels that need a selection of their own: nominal and the jet variations.
KINEMATIC_VARIATIONS = (
    NOMINAL,
    *(
        name
        for systematic in SYSTEMATICS
        if systematic.kind == "kinematic"
        for name in systematic.variations
    ),
)


def variations_of(process: str, sample_variation: str = NOMINAL) -> tuple[str, ...]:
    """Return the labels that a sample's events fill, in the order of `VARIATIONS`.

    A nominal sample fills nominal and every kinematic and weight variation that acts on
    the process; a varied sample its own label only.

    Raises
    ------
    ValueError
        The task has no such sample.
    """
    if not any(
        (s.process, s.variation) == (process, sample_variation) for s in SAMPLES
    ):
        known = ", ".join(f"{s.process}/{s.variation}" for s in SAMPLES)
        msg = (
            f"unknown process {process!r} with variation {sample_variation!r}: "
            f"the ttbar task has {known}"
        )
        raise ValueError(msg)
    if sample_variation != NOMINAL:
        return (sample_variation,)
    return (
        NOMINAL,
        *(
            name
            for systematic in SYSTEMATICS
            if systematic.kind != "sample" and process in systematic.processes
            for name in systematic.variations
        ),
    )
