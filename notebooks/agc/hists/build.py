"""The ttbar task's histograms: regions, axes, and an empty one of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agc.inputs.samples import PROCESSES
from agc.inputs.variations import VARIATIONS

if TYPE_CHECKING:
    import hist

__all__ = ["BIN_HIGH", "BIN_LOW", "N_BINS", "REGIONS", "Region", "empty_histograms"]

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


def empty_histograms() -> dict[str, hist.Hist[Any]]:
    """Return one empty histogram for each region.

    Returns
    -------
    dict of str to hist.Hist
        Keyed by region name. Axes: ``observable`` (25 bins from 50 to 550 GeV, with
        under- and overflow), ``process`` and ``variation`` (fixed categories, so that
        the order never depends on which file came first). Storage: ``Weight``.
    """
    import hist

    return {
        region.name: hist.Hist(
            hist.axis.Regular(
                N_BINS, BIN_LOW, BIN_HIGH, name="observable", label=region.observable
            ),
            hist.axis.StrCategory(PROCESSES, name="process", label="Process"),
            hist.axis.StrCategory(VARIATIONS, name="variation", label="Variation"),
            storage=hist.storage.Weight(),
            label="Events",
        )
        for region in REGIONS
    }
