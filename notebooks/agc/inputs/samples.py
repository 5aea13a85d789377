"""The samples of the AGC ttbar task: processes, cross-sections, labels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

__all__ = [
    "LUMI_PB",
    "PROCESSES",
    "PROCESS_LABELS",
    "SAMPLES",
    "XSEC_PB",
    "Sample",
    "named",
    "sample_named",
]


class _Named(Protocol):
    @property
    def name(self) -> str: ...


_S = TypeVar("_S", bound=_Named)

#: Integrated luminosity of the 2015 data that the task normalises to, in 1/pb.
#: Source: the AGC reference implementation, iris-hep/analysis-grand-challenge c37bf59.
LUMI_PB = 3378.0

#: Cross-section times branching fraction of each process in pb, at 13 TeV.
#: The terms are those of the AGC reference implementation (c37bf59), one per
#: final state or charge.
XSEC_PB = {
    "ttbar": 396.87 + 332.97,
    "wjets": 61457 * 0.252,
    "single_top_tW": 37.936 + 37.906,
    "single_top_t_chan": (36.993 + 22.175) / 0.252,
    "single_top_s_chan": 2.0268 + 1.2676,
}

#: The processes, largest expected yield first; the order of the histogram axis.
PROCESSES = tuple(XSEC_PB)

#: How plots and tables write each process.
PROCESS_LABELS = {
    "ttbar": r"$t\bar{t}$",
    "wjets": r"$W$+jets",
    "single_top_tW": r"Single top, $tW$",
    "single_top_t_chan": r"Single top, $t$-channel",
    "single_top_s_chan": r"Single top, $s$-channel",
}


@dataclass(frozen=True)
class Sample:
    """One simulated sample: a process, generated nominally or with a variation."""

    process: str
    variation: str
    """``"nominal"``, or the systematic variation that the whole sample stands for."""

    @property
    def name(self) -> str:
        """The dataset's name in filesets, as the AGC writes it."""
        return f"{self.process}__{self.variation}"

    @property
    def xsec_pb(self) -> float:
        """The process's cross-section in pb; a varied sample has the nominal one."""
        return XSEC_PB[self.process]


#: All nine samples, in the order of the AGC's catalog.
SAMPLES = (
    Sample("ttbar", "nominal"),
    Sample("ttbar", "scaledown"),
    Sample("ttbar", "scaleup"),
    Sample("ttbar", "ME_var"),
    Sample("ttbar", "PS_var"),
    Sample("single_top_s_chan", "nominal"),
    Sample("single_top_t_chan", "nominal"),
    Sample("single_top_tW", "nominal"),
    Sample("wjets", "nominal"),
)


def sample_named(name: str) -> Sample:
    """Return the sample of a dataset's name, ``"<process>__<variation>"``."""
    return named(SAMPLES, name, task="ttbar")


def named(samples: Iterable[_S], name: str, *, task: str) -> _S:
    """Return the sample of a dataset's name.

    Raises
    ------
    KeyError
        There is no such sample; the message lists those that the task has.
    """
    by_name = {sample.name: sample for sample in samples}
    if name not in by_name:
        msg = f"unknown dataset {name!r}: the {task} task has {', '.join(by_name)}"
        raise KeyError(msg)
    return by_name[name]
