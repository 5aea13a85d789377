"""What is analysed: processes, systematic variations, regions, and what is fitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

__all__ = ["NOMINAL", "Channel", "Config", "Process", "Systematic"]

NOMINAL = "nominal"


@dataclass(frozen=True)
class Process:
    """A process, and how plots and tables show it."""

    label: str
    colour: str
    xsec_pb: float = 0.0
    """Cross-section times branching fraction."""
    optional: bool = False
    """Whether a fit goes on without it where it has no events."""


@dataclass(frozen=True)
class Systematic:
    """One nuisance parameter of the fit and the histograms that define it."""

    label: str
    """How fit results and pull plots call it."""

    kind: Literal["kinematic", "weight", "sample", "norm"]
    """``kinematic``: objects change, so the selection runs again. ``weight``: the
    nominal selection with another weight. ``sample``: simulated separately. ``norm``:
    a relative uncertainty of the yield, which needs no histogram."""

    processes: tuple[str, ...] = ()
    """The processes it acts on; none means all."""

    up: str = ""
    """The histogram label of the variation upwards."""

    down: str | None = None
    """The one downwards; None where the fit mirrors the upward one."""

    size: float = 0.0
    """With ``norm``: the relative uncertainty."""

    bound: float | None = None
    """How far the fit may move it, in units of its uncertainty; None: pyhf's 5."""

    @property
    def variations(self) -> tuple[str, ...]:
        """The histogram labels this systematic needs."""
        return tuple(name for name in (self.up, self.down) if name)

    def acts_on(self, process: str) -> bool:
        """Whether it changes a process."""
        return not self.processes or process in self.processes


@dataclass(frozen=True)
class Channel:
    """A histogram that is fitted, and its bins in the fit."""

    low: float | None = None
    """Where the fitted range begins; None: with the first bin."""

    merged: int = 1
    """How many bins of the histogram make one of the fit."""


@dataclass
class Config:
    """An analysis as histograms, plots, tables and fits need to know it."""

    name: str
    """What cabinetry calls the measurement."""
    processes: dict[str, Process]
    """Largest yield first: the order of the histograms' axis."""
    systematics: list[Systematic]
    titles: dict[str, str]
    """What plots write of each histogram's events, by histogram."""
    fit_channels: dict[str, Channel]
    signal: str
    """The process that the parameter of interest scales."""
    poi: str
    lumi_pb: float
    data: str = "pseudodata"
    """The name of what is fitted, in workspaces."""
    points: str = "Pseudo-data"
    """The same in plots and tables."""
    experiment: Literal["ATLAS", "CMS"] = "CMS"
    keywords: dict[str, list[str]] = field(default_factory=dict)
    """HEPData's, to be found by."""

    def acting(self, *processes: str) -> list[Systematic]:
        """Return the systematics with histograms that act on any of some processes."""
        return [
            s
            for s in self.systematics
            if s.kind != "norm" and any(s.acts_on(p) for p in processes)
        ]
