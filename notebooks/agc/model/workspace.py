"""The statistical model: a cabinetry configuration and the pyhf workspace of it."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.spectra import contents, spectrum, variances
from agc.inputs.config import NOMINAL
from agc.model.templates import check_templates, fitted_processes
from casa_env.settings.places import own_folder

if TYPE_CHECKING:
    import hist
    from numpy.typing import NDArray

    from agc.inputs.config import Config, Systematic

__all__ = ["build_workspace", "configuration"]


def configuration(
    templates: dict[str, hist.Hist[Any]], config: Config, folder: Path
) -> dict[str, Any]:
    """Describe the model in cabinetry's terms; its template files go to a folder.

    One sample for each process that has events, one systematic for each of the
    analysis, and its parameter of interest on the signal, which starts at 1 and is
    bounded by 0 and 10. Systematics without a downward variation are mirrored.
    """
    processes = fitted_processes(templates, config)
    return {
        "General": {
            "Measurement": config.name,
            "POI": config.poi,
            "HistogramFolder": str(folder),
            # cabinetry wants a path, but the templates come from memory.
            "InputPath": "",
        },
        "Regions": [
            {
                "Name": name,
                "Variable": template.axes["observable"].label,
                "Binning": template.axes["observable"].edges.tolist(),
            }
            for name, template in templates.items()
        ],
        "Samples": [
            {"Name": config.data, "Data": True},
            *({"Name": p} for p in processes),
        ],
        "Systematics": [_systematic(one, processes) for one in config.systematics],
        "NormFactors": [
            {
                "Name": config.poi,
                "Samples": config.signal,
                "Nominal": 1.0,
                "Bounds": [0, 10],
            }
        ],
    }


def _systematic(systematic: Systematic, processes: list[str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "Name": systematic.label,
        "Samples": [p for p in processes if systematic.acts_on(p)],
    }
    if systematic.kind == "norm":
        return described | {
            "Type": "Normalization",
            "Up": {"Normalization": systematic.size},
            "Down": {"Normalization": -systematic.size},
        }
    return described | {
        "Type": "NormPlusShape",
        "Up": {"VariationPath": systematic.up},
        "Down": (
            {"Symmetrize": True}
            if systematic.down is None
            else {"VariationPath": systematic.down}
        ),
    }


def build_workspace(
    templates: dict[str, hist.Hist[Any]],
    data: dict[str, hist.Hist[Any]],
    config: Config,
    *,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Build the pyhf workspace, which ``cabinetry.workspace.save`` writes.

    Parameters
    ----------
    templates, data
        By channel, in the bins of `agc.model.templates.fit_templates`.
    config
        The analysis.
    folder
        Where cabinetry's template files stay for a closer look; None keeps nothing.

    Raises
    ------
    EmptyTemplateError, MirroredTemplateError, ValueError
        As `agc.model.templates.check_templates`.

    Notes
    -----
    The likelihood takes data for events that were counted. Data that are histogrammed
    beside the templates may be of events that weigh more: what their variance has
    beyond Poisson's is then part of the bins' statistical uncertainty in the model.
    """
    check_templates(templates, data, config)
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="agc-templates-") as temporary:
            return build_workspace(templates, data, config, folder=Path(temporary))
    own_folder(folder)
    import cabinetry

    router = cabinetry.route.Router()

    # cabinetry calls this for each template it needs and refuses histograms of any
    # other origin than files or such a function.
    @router.register_template_builder()
    def built_template(
        region: dict[str, Any],
        sample: dict[str, Any],
        systematic: dict[str, Any],
        direction: str | None,
    ) -> hist.Hist[Any]:
        name = region["Name"]
        if sample.get("Data", False):
            return data[name]
        variation = (
            NOMINAL if direction is None else systematic[direction]["VariationPath"]
        )
        template = spectrum(templates[name], sample["Name"], variation)
        if (sample["Name"], variation) == (config.signal, NOMINAL):
            template = template.copy()
            view: Any = template.view()
            view["variance"] += _beyond_poisson(templates[name], config.data)
        return template

    described = configuration(templates, config, folder)
    cabinetry.configuration.validate(described)
    with _quiet("cabinetry.histo"):
        cabinetry.templates.build(described, router=router)
        cabinetry.templates.postprocess(described)
    built: dict[str, Any] = cabinetry.workspace.build(described)
    built["measurements"][0]["config"]["parameters"].extend(
        {"name": s.label, "inits": [0.0], "bounds": [[-s.bound, s.bound]]}
        for s in config.systematics
        if s.bound is not None
    )
    return built


def _beyond_poisson(template: hist.Hist[Any], data: str) -> NDArray[np.float64] | float:
    """Return what the data's variance has beyond Poisson's; they are a mean of samples.

    Without samples of their own they share events with the templates: nothing is known.
    """
    if data not in template.axes["process"]:
        return 0.0
    samples = [spectrum(template, data, v) for v in template.axes["variation"]]
    samples = [one for one in samples if contents(one).any()]
    mean = np.mean([contents(one) for one in samples], axis=0)
    variance = np.mean([variances(one) for one in samples], axis=0) / len(samples)
    beyond: NDArray[np.float64] = np.maximum(variance - mean, 0.0)
    return beyond


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    # cabinetry warns twice of each single empty bin, dozens of lines for W+jets;
    # `check_templates` has looked at what would harm the fit.
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
