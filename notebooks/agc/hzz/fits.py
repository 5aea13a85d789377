"""What the data say about the signal: its size, its significance, its upper limit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from agc.fits import Estimate, Fit, estimate, fit_workspace
from agc.hzz.workspace import POI, ZZ_NORM

__all__ = ["HzzFit", "fit_signal"]


@dataclass(frozen=True)
class HzzFit:
    """A fitted workspace, and the tests of its signal."""

    fit: Fit
    """Results and predictions, in cabinetry's own objects."""

    significance: float
    """Of the signal against the background alone, in standard deviations."""

    expected_significance: float
    """The same for a signal of the predicted size."""

    upper_limit: float
    """On `signal`, at 95 % confidence level by the CLs method."""

    expected_limit: float
    """The median without a signal."""

    cls: float
    """CLs of a signal of the predicted size."""

    @property
    def signal(self) -> Estimate:
        """The measured over the predicted signal."""
        return estimate(self.fit.results, POI)

    @property
    def zz_norm(self) -> Estimate:
        """The ZZ cross-section's nuisance parameter, in units of its uncertainty."""
        return estimate(self.fit.results, ZZ_NORM)


def fit_signal(workspace: dict[str, Any]) -> HzzFit:
    """Fit a workspace to the data that it holds, and test the signal.

    Parameters
    ----------
    workspace
        As `agc.hzz.workspace.build_workspace` returns it.

    Returns
    -------
    HzzFit
        With the asymptotic formulae of arXiv:1007.1727; ten seconds on one core.

    Raises
    ------
    agc.fits.FitError
        Minuit found no minimum, or no covariance there.
    """
    import cabinetry
    import pyhf

    fit = fit_workspace(workspace)
    model, data = cabinetry.model_utils.model_and_data(workspace)
    found = cabinetry.fit.significance(model, data)
    norm = estimate(fit.results, POI)
    # three uncertainties above the best fit there is no signal left to exclude
    bracket = (0.05, min(9.5, max(norm.value, 0.0) + 4 * norm.uncertainty))
    limit = cabinetry.fit.limit(model, data, bracket=bracket)
    cls = float(pyhf.infer.hypotest(1.0, data, model, test_stat="qtilde"))
    median = len(limit.expected_limit) // 2
    return HzzFit(
        fit,
        significance=_finite(found.observed_significance),
        expected_significance=_finite(found.expected_significance),
        upper_limit=float(limit.observed_limit),
        expected_limit=float(limit.expected_limit[median]),
        cls=cls,
    )


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0
