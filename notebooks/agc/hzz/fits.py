"""What the data say about the signal: its size, its significance, its upper limit."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agc.hzz.workspace import POI, ZZ_NORM
from agc.model.fit import Estimate, Fit, FitError, estimate, fit_workspace

__all__ = ["HzzFit", "fit_signal", "upper_limit"]

_MAX_STEPS = 12
_SMALLEST_CLS = 1e-9
_LIMIT_RTOL = 0.02


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
    agc.model.fit.FitError
        Minuit found no minimum, or no covariance there.
    """
    import cabinetry

    fit = fit_workspace(workspace)
    model, data = cabinetry.model_utils.model_and_data(workspace)
    found = cabinetry.fit.significance(model, data)
    norm = estimate(fit.results, POI)
    with _quick_minuit():
        limit, _ = upper_limit(model, data, start=norm.value + 2 * norm.uncertainty)
        cls = _cls(model, data, 1.0)
    return HzzFit(
        fit,
        significance=_finite(found.observed_significance),
        expected_significance=_finite(found.expected_significance),
        upper_limit=limit,
        cls=cls,
    )


def upper_limit(
    model: Any,  # noqa: ANN401 - a pyhf.Model, which has no types
    data: list[float],
    *,
    start: float,
    level: float = 0.05,
) -> tuple[float, float]:
    """Find the signal that is excluded at a confidence level.

    Parameters
    ----------
    model, data
        As cabinetry makes them of a workspace.
    start
        A first guess.
    level
        The CLs to find.

    Returns
    -------
    limit, cls : float
        The signal, and its CLs, which is within 2 % of the level.

    Raises
    ------
    agc.model.fit.FitError
        There is no such signal below 10, the end of the parameter's range.

    Notes
    -----
    The logarithm of CLs is nearly straight: a secant finds the level in three or four
    steps, where ``cabinetry.fit.limit`` takes about a hundred fits.
    """
    low, high = 1e-3, 9.9
    at = min(max(start, 0.1), high)
    before: tuple[float, float] | None = None
    for _ in range(_MAX_STEPS):
        cls = max(_cls(model, data, at), _SMALLEST_CLS)
        distance = math.log(cls / level)
        if abs(distance) < _LIMIT_RTOL:
            return at, cls
        low, high = (at, high) if distance > 0 else (low, at)
        if before is None or before[1] == distance:
            step = at * (1.15 if distance > 0 else 0.87)
        else:
            slope = (distance - before[1]) / (at - before[0])
            step = at - distance / slope
        before = (at, distance)
        at = step if low < step < high else 0.5 * (low + high)
    msg = f"no upper limit between {low:g} and {high:g}, where CLs is {level:g}"
    raise FitError(msg)


def _cls(model: Any, data: list[float], signal: float) -> float:  # noqa: ANN401 - see above
    import pyhf

    return float(pyhf.infer.hypotest(signal, data, model, test_stat="qtilde"))


@contextlib.contextmanager
def _quick_minuit() -> Iterator[None]:
    """Minimise with Minuit, without covariances; pyhf's backend comes back."""
    import pyhf

    backend = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(strategy=0))
    try:
        yield
    finally:
        pyhf.set_backend(*backend)


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0
