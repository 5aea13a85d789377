"""The maximum-likelihood fit, and what it says about the cross-section."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from agc.errors import AnalysisError

if TYPE_CHECKING:
    from cabinetry.fit.results_containers import FitResults, RankingResults
    from cabinetry.model_utils import ModelPrediction

__all__ = [
    "Fit",
    "FitError",
    "breakdown",
    "estimate",
    "fit_model",
    "fit_workspace",
    "ranking",
    "signal_test",
]

log = logging.getLogger(__name__)

#: Minuit's tolerance; the estimated distance to the minimum is below 0.002 times it.
#: With Minuit's own 0.1 the Hessian is taken far enough from the minimum to move the
#: uncertainty of ``ttbar_norm`` by 5 % on the AGC's published histograms; with this it
#: agrees to 1 % with second differences of the likelihood, at no cost in time.
TOLERANCE = 0.01


#: The step of second differences of the likelihood, in standard deviations.
_STEP = 0.005


class FitError(AnalysisError):
    """The minimisation did not end at a minimum with a usable covariance."""


class Estimate(NamedTuple):
    """A fitted parameter: its value and its uncertainties, all without unit."""

    value: float
    uncertainty: float
    """Symmetric, from the second derivatives at the minimum."""
    down: float
    """Downwards, positive: from a likelihood scan where there is one."""
    up: float


@dataclass(frozen=True)
class Fit:
    """A fitted workspace, in cabinetry's own objects."""

    results: FitResults
    prefit: ModelPrediction
    postfit: ModelPrediction

    @property
    def poi(self) -> Estimate:
        """The parameter of interest."""
        return estimate(self.results, self.prefit.model.config.poi_name)

    @property
    def breakdown(self) -> dict[str, float]:
        """What the uncertainty of the parameter of interest is made of."""
        return breakdown(self.results, self.prefit.model.config.poi_name)


def estimate(results: FitResults, parameter: str) -> Estimate:
    """Return one parameter of a fit, with MINOS's uncertainties if it was run for it.

    Raises
    ------
    KeyError
        The fit has no such parameter; the message lists those it has.
    """
    if parameter not in results.labels:
        msg = f"no parameter {parameter!r} in this fit: it has {results.labels}"
        raise KeyError(msg)
    index = results.labels.index(parameter)
    symmetric = float(results.uncertainty[index])
    down, up = results.minos_uncertainty.get(parameter, (-symmetric, symmetric))
    return Estimate(float(results.bestfit[index]), symmetric, abs(down), abs(up))


def breakdown(results: FitResults, poi: str) -> dict[str, float]:
    """Return what a parameter's uncertainty is made of; the squares add up.

    The statistics of the data are what is left with all other parameters fixed, the
    systematics what is added by them, the simulation's statistics what is added by the
    parameters that each bin has for them. All of it comes from the covariance.
    """
    free = np.flatnonzero(np.asarray(results.uncertainty) > 0)
    names = [results.labels[i] for i in free]
    sigma = np.asarray(results.uncertainty)[free]
    covariance = np.asarray(results.corr_mat)[np.ix_(free, free)] * np.outer(
        sigma, sigma
    )
    at = names.index(poi)
    precision = np.linalg.inv(covariance)
    kept = [i for i, name in enumerate(names) if not name.startswith("staterror")]
    total = covariance[at, at]
    fixed = np.linalg.inv(precision[np.ix_(kept, kept)])[kept.index(at), kept.index(at)]
    data = 1 / precision[at, at]
    return {
        "data": float(np.sqrt(data)),
        "systematics": float(np.sqrt(max(fixed - data, 0))),
        "simulated events": float(np.sqrt(max(total - fixed, 0))),
    }


def ranking(results: FitResults, poi: str) -> RankingResults:
    """Return what each systematic does to a parameter, the largest impact first.

    Notes
    -----
    From the covariance at the minimum, at no cost; ``cabinetry.fit.ranking`` repeats
    the fit four times for each parameter. The two agree where the likelihood is nearly
    a parabola. The parameters of the simulation's statistics, one for each bin, are
    left out: `breakdown` has their sum.
    """
    from cabinetry.fit.results_containers import RankingResults

    at = results.labels.index(poi)
    sigma = np.asarray(results.uncertainty)
    impact = np.asarray(results.corr_mat)[at] * sigma[at]
    rows = [
        i
        for i in np.argsort(-np.abs(impact), kind="stable")
        if i != at and not results.labels[i].startswith("staterror")
    ]
    before = impact[rows] / sigma[rows]
    return RankingResults(
        np.asarray(results.bestfit)[rows],
        sigma[rows],
        [results.labels[i] for i in rows],
        before,
        -before,
        impact[rows],
        -impact[rows],
    )


@dataclass(frozen=True)
class SignalTest:
    """What data say about a signal, by the asymptotic formulae of arXiv:1007.1727."""

    significance: float
    """Against the background alone, in standard deviations."""
    expected_significance: float
    """The same for a signal of the predicted size."""
    upper_limit: float
    """At 95 % confidence level by the CLs method."""
    cls: float
    """CLs of a signal of the predicted size."""


def signal_test(workspace: dict[str, Any], fit: Fit) -> SignalTest:
    """Test the signal of a workspace that was fitted.

    Raises
    ------
    FitError
        There is no upper limit within four uncertainties of the fitted signal.

    Notes
    -----
    The limit takes about ten seconds on one core. pyhf's ``toms748_scan`` searches for
    five expected limits, too, and takes ten times as long.
    """
    import cabinetry
    import pyhf
    from scipy.optimize import toms748  # type: ignore[import-untyped]  # it has none

    model, data = cabinetry.model_utils.model_and_data(workspace)
    found = cabinetry.fit.significance(model, data)

    def above(signal: float) -> float:
        cls = pyhf.infer.hypotest(signal, data, model)
        return math.log(max(float(cls), 1e-9) / 0.05)

    start = max(fit.poi.value, 0.05)
    stop = start + 4 * fit.poi.uncertainty
    with _quick_minuit():
        try:
            limit = toms748(above, start, stop, rtol=0.01)
        except ValueError as error:
            msg = (
                f"no upper limit on the signal from {start:.3g} to {stop:.3g} times "
                f"the prediction: the fit gives {fit.poi.value:.3g} ± "
                f"{fit.poi.uncertainty:.3g}, and the model allows 0 to 10. Look "
                "whether data and templates are of the same luminosity and units"
            )
            raise FitError(msg) from error
        cls = pyhf.infer.hypotest(1.0, data, model)
    return SignalTest(
        float(np.nan_to_num(found.observed_significance)),
        float(np.nan_to_num(found.expected_significance)),
        float(limit),
        float(cls),
    )


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


def fit_workspace(workspace: dict[str, Any], *, minos: bool = False) -> Fit:
    """Fit a workspace to the data that it holds.

    With ``minos``, the likelihood of the parameter of interest is scanned for
    asymmetric uncertainties. Templates of few events let the scan reach negative
    yields: Minuit then complains, and the symmetric uncertainty stands for both sides.

    Raises
    ------
    FitError
        Minuit found no minimum, or no covariance there.
    """
    import cabinetry

    return fit_model(*cabinetry.model_utils.model_and_data(workspace), minos=minos)


def fit_model(model: Any, data: Any, *, minos: bool = False) -> Fit:  # noqa: ANN401 - pyhf's
    """Fit a pyhf model to data, auxiliary ones included, as `fit_workspace` does.

    Notes
    -----
    Where rounding keeps Minuit from its tolerance, a second attempt takes Minuit's own
    tolerance and its most careful strategy. One attempt takes about a second for the
    AGC's 34 parameters, on one core.
    """
    import cabinetry
    import pyhf

    fit = functools.partial(
        cabinetry.fit.fit,
        model,
        data,
        minos=model.config.poi_name if minos else None,
        goodness_of_fit=True,
    )
    failed = pyhf.exceptions.FailedMinimization
    backend = pyhf.get_backend()
    try:
        try:
            results = fit(tolerance=TOLERANCE)
        except failed as error:
            log.info("second attempt: %s", _reason(error.result.minuit))
            results = fit(strategy=2)
    except failed as error:
        msg = f"the fit did not converge: {_reason(error.result.minuit)}"
        raise FitError(msg) from error
    finally:
        # cabinetry leaves its own optimiser behind when a fit fails.
        pyhf.set_backend(*backend)
    _check_covariance(results)
    results = _with_covariance(results, model, data)
    return Fit(
        results,
        prefit=cabinetry.model_utils.prediction(model),
        postfit=cabinetry.model_utils.prediction(model, fit_results=results),
    )


def _with_covariance(results: FitResults, model: Any, data: Any) -> FitResults:  # noqa: ANN401 - pyhf's
    """Return a fit with the covariance of second differences of the likelihood.

    Minuit's own steps are so small that the likelihood's last digits decide: a change
    of 1e-9 in the templates moved the uncertainty of ``ttbar_norm`` by a tenth. Steps
    are along the axes of Minuit's covariance: along single parameters, which others
    compensate, a thirtieth of a standard deviation is far from the minimum, and the
    inversion multiplies what is not parabolic there (0.107 where MINOS has 0.086).
    Where the likelihood has no value beside the minimum, Minuit's covariance stays.
    """
    best, sigma = np.asarray(results.bestfit), np.asarray(results.uncertainty).copy()
    free = np.flatnonzero(sigma > 0)
    minuit = np.asarray(results.corr_mat)[np.ix_(free, free)]
    size, axes = np.linalg.eigh(minuit * np.outer(sigma[free], sigma[free]))
    if size[0] <= 0:
        return results
    axes = axes * np.sqrt(size)  # in columns
    steps = np.zeros((len(free), len(best)))
    steps[:, free] = _STEP * axes.T

    def change(move: Any) -> float:  # noqa: ANN401 - an array
        return -2 * float(np.ravel(model.logpdf(best + move, data))[0])

    def bend(move: Any) -> float:  # noqa: ANN401 - an array
        return change(move) + change(-move)

    hessian = np.empty((len(free), len(free)))
    with np.errstate(invalid="ignore", divide="ignore"):
        least, alone = 2 * change(0.0), [bend(step) for step in steps]
        for i, one in enumerate(steps):
            hessian[i, i] = alone[i] - least
            for j, two in enumerate(steps[:i]):
                both = bend(one + two) - alone[i] - alone[j] + least
                hessian[i, j] = hessian[j, i] = both / 2
    if not np.isfinite(hessian).all() or np.linalg.eigvalsh(hessian)[0] <= 0:
        return results
    covariance = 2 * _STEP**2 * axes @ np.linalg.inv(hessian) @ axes.T
    sigma[free] = np.sqrt(np.diag(covariance))
    correlations = np.asarray(results.corr_mat).copy()
    correlations[np.ix_(free, free)] = covariance / np.outer(sigma[free], sigma[free])
    return results._replace(uncertainty=sigma, corr_mat=correlations)


def _reason(minuit: Any) -> str:  # noqa: ANN401 - iminuit is imported by pyhf alone
    fmin = minuit.fmin
    faults = {
        "the call limit was reached": fmin.has_reached_call_limit,
        f"the distance to the minimum is {fmin.edm:.2g}, above {fmin.edm_goal:.2g}": (
            fmin.is_above_max_edm
        ),
        "the Hessian could not be computed": fmin.hesse_failed,
        "the covariance is not positive definite": not fmin.has_posdef_covar,
    }
    at_limit = [p.name for p in minuit.params if _is_at_limit(p)]
    found = [text for text, is_fault in faults.items() if is_fault]
    if at_limit:
        found.append(f"at the limit of its range: {', '.join(at_limit)}")
    return (
        f"{'; '.join(found) or 'Minuit gives no reason'}. Look at the templates for "
        "variations that are very large or made of a few events"
    )


def _is_at_limit(parameter: Any) -> bool:  # noqa: ANN401 - see _reason
    reach = 1e-3 * (parameter.upper_limit - parameter.lower_limit)
    return bool(
        parameter.value - parameter.lower_limit < reach
        or parameter.upper_limit - parameter.value < reach
    )


def _check_covariance(results: FitResults) -> None:
    usable = np.isfinite(results.bestfit) & np.isfinite(results.uncertainty)
    if not (usable.all() and np.isfinite(results.corr_mat).all()):
        bad = [
            label for label, ok in zip(results.labels, usable, strict=True) if not ok
        ]
        msg = (
            "the fit has no usable covariance"
            f"{' for ' + ', '.join(bad) if bad else ''}: two parameters may do the same"
        )
        raise FitError(msg)
