"""What is analysed: processes, variables, systematic variations, and what is fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from agc.errors import AnalysisError, UnknownProcessError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["NOMINAL", "Channel", "Config", "Process", "Systematic", "Variable"]

NOMINAL = "nominal"

#: Computes one number, or a list of numbers, of each selected event.
OfEvents: TypeAlias = Callable[[Any], Any]


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
class Variable:
    """What is histogrammed of the events of a region."""

    label: str
    """The axis label, with its unit."""
    region: str
    bins: tuple[int, float, float]
    """How many, the lower edge of the first and the upper edge of the last."""
    value: OfEvents | None = None
    """Computes it from a region's events; None: the processor at hand knows how."""


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

    factors: tuple[OfEvents, ...] = ()
    """With ``weight``: compute the factors on the weight, upwards and downwards, from
    a region's events; none: the processor at hand knows how."""

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
    """An analysis: what histograms, plots, tables and fits need to know of it."""

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
    variables: dict[str, Variable] = field(default_factory=dict)
    """What is histogrammed, by histogram; not all of it need be fitted."""
    columns: dict[str, npt.DTypeLike | None] = field(default_factory=dict)
    """The branches that are read, and their types; None: as they are in the file."""

    constants: dict[str, float] = field(default_factory=dict)
    """Variations that are one factor for all events, where they are."""

    def acting(self, *processes: str) -> list[Systematic]:
        """Return the systematics with histograms that act on any of some processes."""
        return [
            s
            for s in self.systematics
            if s.kind != "norm" and any(s.acts_on(p) for p in processes)
        ]

    @property
    def variations(self) -> tuple[str, ...]:
        """Every label of the histograms' variation axis, the nominal one first."""
        acting = (s for s in self.systematics if s.kind != "norm")
        return (NOMINAL, *(name for s in acting for name in s.variations))

    def variations_of(self, process: str, variation: str = NOMINAL) -> tuple[str, ...]:
        """Return the labels that the events of a dataset fill.

        For a nominal dataset that is every kinematic and weight variation that acts on
        the process; for a varied one its own label; data have no other variations.

        Raises
        ------
        UnknownProcessError
            There is no such process, or it has no such variation.
        """
        if process == self.data and variation in self.variations:
            return (variation,)
        if process not in self.processes:
            msg = (
                f"unknown process {process!r}: the analysis has "
                f"{', '.join(self.processes)}; config.add_process({process!r}) adds it"
            )
            raise UnknownProcessError(msg)
        acting = self.acting(process)
        varied = {v for s in acting if s.kind == "sample" for v in s.variations}
        if variation not in {NOMINAL, *varied}:
            known = ", ".join([NOMINAL, *sorted(varied)])
            msg = f"unknown variation {variation!r} of {process!r}: there is {known}"
            raise UnknownProcessError(msg)
        if variation != NOMINAL:
            return (variation,)
        computed = (s for s in acting if s.kind != "sample")
        return (NOMINAL, *(name for s in computed for name in s.variations))

    def values_in(self, region: str) -> dict[str, OfEvents]:
        """Return how the variables of a region are computed, by name.

        Raises
        ------
        AnalysisError
            Nobody has said how.
        """
        found = {}
        for name, variable in self.variables.items():
            if variable.region == region:
                if variable.value is None:
                    msg = f"config.add_variable({name!r}, …) has to say what it is"
                    raise AnalysisError(msg)
                found[name] = variable.value
        return found

    def add_process(
        self, name: str, *, label: str = "", colour: str = "#717581"
    ) -> None:
        """Add a process; systematics that act on all others act on it, too."""
        others = set(self.processes)
        self.processes[name] = Process(label or name, colour, optional=True)
        self.systematics = [
            dataclasses.replace(s, processes=(*s.processes, name))
            if others <= set(s.processes)
            else s
            for s in self.systematics
        ]

    def add_variable(
        self,
        name: str,
        value: OfEvents,
        *,
        region: str,
        bins: tuple[int, float, float],
        label: str = "",
    ) -> None:
        """Add a histogram, or say how one that is there is computed.

        ``value`` takes the events of the region, with their selected jets, and returns
        a number for each, or a list of numbers. It is filled with every variation; it
        is not fitted unless `fit_channels` says so.
        """
        self.variables[name] = Variable(label or name, region, bins, value)
        self.titles.setdefault(name, self.titles.get(region, region))

    def add_systematic(
        self,
        name: str,
        up: OfEvents | str,
        down: OfEvents | str | None = None,
        *,
        processes: tuple[str, ...] = (),
        label: str = "",
    ) -> None:
        """Add a nuisance parameter, on all processes unless some are named.

        ``up`` and ``down`` compute the factors on the events' weights. Where they are
        names instead, they are those of datasets that were simulated separately, as in
        their metadata's ``variation``. Without ``down``, the fit mirrors ``up``.
        """
        if isinstance(up, str):
            below = down if isinstance(down, str) else None
            one = Systematic(label or name, "sample", processes, up, below)
        else:
            below = f"{name}_down" if callable(down) else None
            one = Systematic(
                label or name,
                "weight",
                processes,
                f"{name}_up",
                below,
                factors=(up, down) if callable(down) else (up,),
            )
        self.systematics.append(one)
