"""Empty histograms: an observable, the process and the variation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import hist

__all__ = [
    "BIN_HIGH",
    "BIN_LOW",
    "N_BINS",
    "REGIONS",
    "empty_histogram",
]

#: Regular binning of both observables, in GeV (AGC reference implementation, c37bf59).
N_BINS, BIN_LOW, BIN_HIGH = 25, 50.0, 550.0


@dataclass(frozen=True)
class Region:
    """One selection of events and the quantity that is histogrammed in it."""

    name: str
    """The region's name in histograms, workspaces and tables."""

    title: str
    """One line for plots."""

    observable: str
    """The axis label, with its unit."""


#: The control region and the signal region, in this order everywhere.
REGIONS = (
    Region("4j1b", "≥ 4 jets, 1 b-tag", r"$H_T$ [GeV]"),
    Region("4j2b", "≥ 4 jets, ≥ 2 b-tags", r"$m_{bjj}$ [GeV]"),
)


def empty_histogram(
    bins: tuple[int, float, float],
    label: str,
    processes: Iterable[str],
    variations: Iterable[str],
) -> hist.Hist[Any]:
    """Return a histogram with the axes observable, process and variation.

    The observable has under- and overflow; processes and variations are fixed, so that
    their order never depends on which file came first. The storage is ``Weight``.
    """
    import hist

    return hist.Hist(
        hist.axis.Regular(*bins, name="observable", label=label),
        hist.axis.StrCategory(processes, name="process", label="Process"),
        hist.axis.StrCategory(variations, name="variation", label="Variation"),
        storage=hist.storage.Weight(),
        label="Events",
    )
