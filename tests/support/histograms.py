"""Empty histograms of the ttbar task, to be filled by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agc.hists.build import BIN_HIGH, BIN_LOW, N_BINS, REGIONS, empty_histogram
from agc.inputs.samples import PROCESSES
from agc.inputs.variations import VARIATIONS
from agc.ttbar.features import feature_variables

if TYPE_CHECKING:
    import hist


def empty_histograms() -> dict[str, hist.Hist[Any]]:
    """Return one for each region."""
    bins = (N_BINS, BIN_LOW, BIN_HIGH)
    return {
        region.name: empty_histogram(bins, region.observable, PROCESSES, VARIATIONS)
        for region in REGIONS
    }


def feature_histograms() -> dict[str, hist.Hist[Any]]:
    """Return one for each feature of the best permutation."""
    return {
        name: empty_histogram(variable.bins, variable.label, PROCESSES, VARIATIONS)
        for name, variable in feature_variables().items()
    }
