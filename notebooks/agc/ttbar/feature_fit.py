"""The assigned jets' features, with what the main fit says of the parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agc.hists.spectra import contents, rebinned, spectrum, variances
from agc.inputs.config import NOMINAL
from agc.inputs.samples import PROCESSES
from agc.model.pseudodata import pseudodata
from agc.model.workspace import build_workspace
from agc.ttbar.features import FEATURES

if TYPE_CHECKING:
    import hist
    from cabinetry.model_utils import ModelPrediction

    from agc.inputs.config import Config
    from agc.model.fit import Fit

__all__ = ["FIT_FEATURES", "feature_fit"]

#: The features that the AGC shows with its fit: distances, masses and one pt (AGC
#: reference implementation, c37bf59).
FIT_FEATURES = tuple(FEATURES[i].name for i in (0, 1, 2, 4, 5, 6, 7))

#: Simulated events, as many of equal weight as know the total as well, for which a bin
#: is worth drawing; with fewer, five bins of the histograms make one.
EVENTS_PER_BIN, MERGED_BINS = 100, 5


@dataclass(frozen=True)
class FeatureFit:
    """A model of the features, and its yields with the main fit's parameters."""

    workspace: dict[str, Any]
    """For pyhf; it was not fitted."""
    data: dict[str, hist.Hist[Any]]
    """The pseudo-data, by feature."""
    prefit: ModelPrediction
    """Yields and their uncertainties before the fit."""
    postfit: ModelPrediction
    """The same with the parameters, uncertainties and correlations of the main fit."""


def feature_templates(
    features: dict[str, hist.Hist[Any]],
) -> dict[str, hist.Hist[Any]]:
    """Choose and rebin histograms; what lies outside of their ranges is dropped.

    The features are those of `FIT_FEATURES`, with 25 or, of a small sample, five bins
    each. The input is unchanged.
    """
    return {
        name: rebinned(features[name], merged=_merged(features[name]))
        for name in FIT_FEATURES
    }


def _merged(histogram: hist.Hist[Any]) -> int:
    nominal = [spectrum(histogram, process, NOMINAL) for process in PROCESSES]
    value, variance = (
        sum(of(x).sum() for x in nominal) for of in (contents, variances)
    )
    enough = EVENTS_PER_BIN * histogram.axes["observable"].size
    many = value**2 >= enough * variance > 0
    # A few events' varied weights can add up to less than nothing.
    return 1 if many and contents(histogram).min() >= 0 else MERGED_BINS


def feature_fit(
    features: dict[str, hist.Hist[Any]], fit: Fit, config: Config
) -> FeatureFit:
    """Carry the main fit over to the features, without fitting anew.

    The features are those of `agc.ttbar.runs.run_ttbar`. Parameters that the main fit
    lacks, the statistical ones of these templates, stay as they were before it.

    Raises
    ------
    agc.model.templates.EmptyTemplateError
        A histogram that the model needs has no events.
    agc.model.templates.MirroredTemplateError
        A one-sided variation doubles a yield or more.
    """
    import cabinetry

    templates = feature_templates(features)
    data = pseudodata(templates)
    workspace = build_workspace(templates, data, config)
    model, _ = cabinetry.model_utils.model_and_data(workspace)
    carried = cabinetry.model_utils.match_fit_results(model, fit.results)
    return FeatureFit(
        workspace,
        data,
        prefit=cabinetry.model_utils.prediction(model),
        postfit=cabinetry.model_utils.prediction(model, fit_results=carried),
    )
