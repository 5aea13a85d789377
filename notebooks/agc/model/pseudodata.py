"""The pseudo-data that the ttbar fit describes: there is no collision data in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agc.hists.spectra import spectrum
from agc.inputs.config import NOMINAL

if TYPE_CHECKING:
    import hist

__all__ = ["pseudodata"]


def pseudodata(histograms: dict[str, hist.Hist[Any]]) -> dict[str, hist.Hist[Any]]:
    """Build the pseudo-data of each histogram, with the variances of its events.

    Notes
    -----
    Half the sum of the two alternative ttbar samples (matrix element, parton shower)
    plus nominal W+jets, as the AGC's reference implementation does (c37bf59). Its
    documentation adds single top, its code does not. The fit's model has single top,
    so that ``ttbar_norm`` below one is expected. The alternative samples are variations
    of the fit, too: where `agc.inputs.filesets.in_halves` made two datasets of each,
    the pseudo-data are of the half that no template has.
    """
    return {name: _pseudodata(histogram) for name, histogram in histograms.items()}


def _pseudodata(histogram: hist.Hist[Any]) -> hist.Hist[Any]:
    ttbar = "pseudodata" if "pseudodata" in histogram.axes["process"] else "ttbar"
    return (
        spectrum(histogram, ttbar, "ME_var") * 0.5
        + spectrum(histogram, ttbar, "PS_var") * 0.5
        + spectrum(histogram, "wjets", NOMINAL)
    )
