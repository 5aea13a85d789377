"""The AGC's HZZ task: its samples, and what plots and fits need to know of it.

The systematic variations are the AGC's, which means them as a technical example: the
size of the scale factors' uncertainty and of the mass scale's is not ATLAS's.
"""

from __future__ import annotations

from dataclasses import dataclass

from agc.hzz.columns import BRANCHES
from agc.inputs.config import NOMINAL, Channel, Config, Process, Systematic, Variable
from agc.inputs.samples import named

__all__ = [
    "BINS",
    "DATA",
    "LUMI_PB",
    "LUMI_UNCERTAINTY",
    "MASS_LABEL",
    "REGION",
    "SAMPLES",
    "SIGNAL_THEORY",
    "VARIATIONS",
    "Sample",
    "hzz_config",
    "sample_named",
]

#: Integrated luminosity of the open data of 2016, in 1/pb.
#: Source: ATL-OREACH-PUB-2020-001, and the AGC reference implementation.
LUMI_PB = 10_000.0

#: Its relative uncertainty. Source: ATLAS-CONF-2019-021, the calibration of run 2 at
#: the time of the publication; the last one (arXiv:2212.09379) has 0.9 to 1.1 % a year.
LUMI_UNCERTAINTY = 0.017

#: Relative uncertainties of the predicted signal: of the cross-section of gluon fusion,
#: which makes nine tenths of it (missing orders; parton densities and alpha_s), and of
#: the branching fraction (H -> ZZ). Source: Yellow Report 4 of the LHC Higgs
#: cross-section working group (arXiv:1610.07922), 13 TeV, 125 GeV: 48.58 pb with a
#: Gaussian 3.9 % and 3.2 %; 0.99, 0.99 and 0.66 % of theory, quark masses and alpha_s
#: in quadrature.
SIGNAL_THEORY = {"Signal_QCD_scale": 0.039, "Signal_PDF": 0.032, "H_to_ZZ": 0.015}

#: The name of the collision data on the histograms' process axis.
DATA = "data"
#: The one region of the task.
REGION = "Signal_region"
#: Regular binning of the four-lepton mass in GeV (AGC reference implementation).
BINS = (34, 80.0, 250.0)
MASS_LABEL = r"$m_{4\ell}$ [GeV]"

#: Every label of the variation axis: factors on the event's weight and on its mass.
#: Source: the AGC reference implementation (iris-hep/analysis-grand-challenge).
VARIATIONS = {
    NOMINAL: (1.0, 1.0),
    "scaleFactorUP": (1.1, 1.0),
    "scaleFactorDOWN": (0.9, 1.0),
    "m4lUP": (1.0, 1.01),
    "m4lDOWN": (1.0, 0.99),
}

#: How far the mass scale may go, in units of its uncertainty: beside a narrow peak it
#: makes negative yields from about 2.5 on, where no likelihood is. No other is bounded.
_MASS_BOUND = 2.0


@dataclass(frozen=True)
class Sample:
    """One dataset: a data-taking period, or a simulated process."""

    name: str
    """The dataset's name in filesets, as in the file's name."""
    process: str
    """`DATA`, or a process of `hzz_config`."""
    file: str
    """The name of the public file."""
    xsec_pb: float = 0.0
    """Cross-section times branching fraction in pb; 0 for collision data."""
    sumw: float = 1.0
    """The sum of the generated events' ``mcWeight``, before any selection."""
    sha256: str | None = None
    """The public file's; nobody has published those of the simulated files."""


def _simulated(
    name: str, process: str, number: int, xsec_pb: float, sumw: float
) -> Sample:
    return Sample(name, process, f"mc_{number}.{name}.4lep.root", xsec_pb, sumw)


_DATA_SHA256 = {
    "A": "8a0de39015dcc46ec3e65fd56234bbb8809c0fb1e16e6511a7872627bb7b6675",
    "B": "198d5f06b0f24cdf08f4a3342f142aa2ed3eded3f39ea8f18fb963b681fd1411",
    "C": "3f1cd0a4fca42013f718bd219a043ec4fff0b7268707ea0894f6ce379e2f0c56",
    "D": "7e103be7359e402032a5dbe01d3f5105fddbcc043bce3a187993fb99f7cc6e1e",
}

#: Four periods of collision data and eight simulated samples. Source of the numbers:
#: ``utils/infofile.py`` of the AGC reference implementation
#: (iris-hep/analysis-grand-challenge), as ATLAS published it with the files. The
#: cross-section of ZH is a hundred times smaller than its neighbours suggest (WH times
#: the ratio of the cross-sections would be 2e-4 pb); it is upstream's value, and no
#: event of a stand-in has it.
SAMPLES = (
    *(
        Sample(f"data_{period}", DATA, f"data_{period}.4lep.root", sha256=sha256)
        for period, sha256 in _DATA_SHA256.items()
    ),
    _simulated("Zee", "Z_tt", 361106, 1950.5295, 150_277_594_200.0),
    _simulated("Zmumu", "Z_tt", 361107, 1950.6321, 147_334_691_090.0),
    _simulated("ttbar_lep", "Z_tt", 410000, 452.693559, 49_386_600.0),
    _simulated("llll", "ZZ", 363490, 1.2578, 7_538_705.8077),
    _simulated("ggH125_ZZ4lep", "signal", 345060, 0.0060239, 27_881_776.6536),
    _simulated("VBFH125_ZZ4lep", "signal", 344235, 4.633012e-4, 3_680_490.83243),
    _simulated("WH125_ZZ4lep", "signal", 341964, 3.769e-4, 149_400.0),
    _simulated("ZH125_ZZ4lep", "signal", 341947, 2.1424784e-6, 150_000.0),
)


def sample_named(name: str) -> Sample:
    """Return the sample of a dataset's name, for example ``"llll"``."""
    return named(SAMPLES, name, task="HZZ")


def hzz_config(*, real_data: bool) -> Config:
    """Return the task as the AGC defines it (``config.yml`` of its HZZ analysis).

    Plots say whether the data are collisions that ATLAS recorded.
    """
    title = r"$\mathbf{ATLAS}$ Open Data" if real_data else "Pseudo-data by Casa"
    # Red, light blue and purple, which ATLAS has used for these processes since the
    # discovery (Phys. Lett. B 716 (2012) 1, figure 2), from M. Petroff's sequence for
    # colour-blind readers (arXiv:2107.02270).
    processes = {
        "signal": Process(r"$H \to ZZ^{*}$, $m_H = 125$ GeV", "#92dadd"),
        "ZZ": Process(r"$ZZ^{*}$", "#e42536"),
        "Z_tt": Process(r"$Z$, $t\bar{t}$", "#964a8b", optional=True),
    }
    both = tuple(processes)
    return Config(
        name="ATLAS_HZZ",
        processes=processes,
        systematics=[
            Systematic(
                "Scalefactor_variation",
                "weight",
                both,
                "scaleFactorUP",
                "scaleFactorDOWN",
            ),
            Systematic(
                "m4l_variation",
                "kinematic",
                both,
                "m4lUP",
                "m4lDOWN",
                bound=_MASS_BOUND,
            ),
            Systematic("ZZ_norm", "norm", ("ZZ",), size=0.1),
            Systematic("Luminosity", "norm", both, size=LUMI_UNCERTAINTY),
            *(
                Systematic(name, "norm", ("signal",), size=size)
                for name, size in SIGNAL_THEORY.items()
            ),
        ],
        titles={REGION: f"{title}\n$H \\to ZZ^{{*}} \\to 4\\ell$"},
        fit_channels={REGION: Channel()},
        signal="signal",
        poi="Signal_norm",
        lumi_pb=LUMI_PB,
        data=DATA,
        points="Data" if real_data else "Pseudo-data",
        experiment="ATLAS",
        variables={REGION: Variable(MASS_LABEL, REGION, BINS)},
        columns=dict(BRANCHES),
    )
