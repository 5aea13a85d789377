"""The pseudo-data that the fit describes: there is no collision data in the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agc.hists.spectra import spectrum
from agc.inputs.variations import NOMINAL

if TYPE_CHECKING:
    import hist

__all__ = ["pseudodata"]


def pseudodata(histograms: dict[str, hist.Hist[Any]]) -> dict[str, hist.Hist[Any]]:
    """Build the pseudo-data of each region.

    Parameters
    ----------
    histograms
        One histogram for each region with the axes ``observable``, ``process`` and
        ``variation``, normalised to the luminosity, in any binning.

    Returns
    -------
    dict of str to hist.Hist
        One histogram for each region with the axis ``observable`` alone. The variances
        are those of the simulated events; a fit or a plot that treats the contents as
        observed counts takes the Poisson variance instead.

    Notes
    -----
    Half the sum of the two alternative ttbar samples (matrix element, parton shower)
    plus nominal W+jets, as the AGC's reference implementation does (c37bf59). Its
    documentation adds single top, its code does not. The fit's model has single top,
    so that ``ttbar_norm`` below one is expected.
    """
    return {
        region: (
            spectrum(histogram, "ttbar", "ME_var") * 0.5
            + spectrum(histogram, "ttbar", "PS_var") * 0.5
            + spectrum(histogram, "wjets", NOMINAL)
        )
        for region, histogram in histograms.items()
    }
