"""The samples of the HZZ task: collision data, processes, cross-sections, weights."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "DATA",
    "LUMI_PB",
    "PROCESSES",
    "PROCESS_COLOURS",
    "PROCESS_LABELS",
    "SAMPLES",
    "SIMULATED",
    "Sample",
    "sample_named",
]

#: Integrated luminosity of the open data of 2016, in 1/pb.
#: Source: ATL-OREACH-PUB-2020-001, and the AGC reference implementation.
LUMI_PB = 10_000.0

#: The name of the collision data on the histograms' process axis.
DATA = "data"

#: The simulated processes, in the order of the histograms' axis and of the stack from
#: the bottom up.
PROCESSES = ("Z_tt", "ZZ", "signal")

#: How plots and tables write each process.
PROCESS_LABELS = {
    "Z_tt": r"$Z$, $t\bar{t}$",
    "ZZ": r"$ZZ^{*}$",
    "signal": r"$H \to ZZ^{*}$, $m_H = 125$ GeV",
}

#: Purple, red and light blue, which ATLAS has used for these processes since the
#: discovery (Phys. Lett. B 716 (2012) 1, figure 2), from M. Petroff's sequence for
#: colour-blind readers (arXiv:2107.02270).
PROCESS_COLOURS = {"Z_tt": "#964a8b", "ZZ": "#e42536", "signal": "#92dadd"}


@dataclass(frozen=True)
class Sample:
    """One dataset: a data-taking period, or a simulated process."""

    name: str
    """The dataset's name in filesets, as in the file's name."""

    process: str
    """`DATA`, or one of `PROCESSES`."""

    file: str
    """The name of the public file."""

    xsec_pb: float = 0.0
    """Cross-section times branching fraction in pb; 0 for collision data."""

    sumw: float = 1.0
    """The sum of the generated events' ``mcWeight``, before any selection."""

    red_eff: float = 1.0
    """The fraction of it that a reduced file stands for: 1 in all of these."""

    @property
    def is_data(self) -> bool:
        """Whether these are collisions, each of which counts once."""
        return self.process == DATA


def _simulated(
    name: str, process: str, number: int, xsec_pb: float, sumw: float
) -> Sample:
    return Sample(name, process, f"mc_{number}.{name}.4lep.root", xsec_pb, sumw)


#: Four periods of collision data and eight simulated samples. Source of the numbers:
#: ``utils/infofile.py`` of the AGC reference implementation
#: (iris-hep/analysis-grand-challenge), as ATLAS published it with the files. The
#: cross-section of ZH is a hundred times smaller than its neighbours suggest (WH times
#: the ratio of the cross-sections would be 2e-4 pb); it is upstream's value, and no
#: event of a stand-in has it.
SAMPLES = (
    *(Sample(f"data_{p}", DATA, f"data_{p}.4lep.root") for p in "ABCD"),
    _simulated("Zee", "Z_tt", 361106, 1950.5295, 150_277_594_200.0),
    _simulated("Zmumu", "Z_tt", 361107, 1950.6321, 147_334_691_090.0),
    _simulated("ttbar_lep", "Z_tt", 410000, 452.693559, 49_386_600.0),
    _simulated("llll", "ZZ", 363490, 1.2578, 7_538_705.8077),
    _simulated("ggH125_ZZ4lep", "signal", 345060, 0.0060239, 27_881_776.6536),
    _simulated("VBFH125_ZZ4lep", "signal", 344235, 4.633012e-4, 3_680_490.83243),
    _simulated("WH125_ZZ4lep", "signal", 341964, 3.769e-4, 149_400.0),
    _simulated("ZH125_ZZ4lep", "signal", 341947, 2.1424784e-6, 150_000.0),
)

#: The simulated ones among them.
SIMULATED = tuple(sample for sample in SAMPLES if not sample.is_data)


def sample_named(name: str) -> Sample:
    """Return the sample of a dataset's name.

    Parameters
    ----------
    name
        For example ``"data_A"`` or ``"llll"``.

    Returns
    -------
    Sample
        The entry of `SAMPLES` with that name.

    Raises
    ------
    KeyError
        There is no such sample; the message lists those there are.
    """
    for sample in SAMPLES:
        if sample.name == name:
            return sample
    known = ", ".join(sample.name for sample in SAMPLES)
    msg = f"unknown dataset {name!r}: the HZZ task has {known}"
    raise KeyError(msg)
