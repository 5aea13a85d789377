"""The statistical model: a cabinetry configuration and the pyhf workspace of it."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agc.hists.spectra import spectrum
from agc.inputs.samples import PROCESSES
from agc.inputs.variations import LUMI_UNCERTAINTY, NOMINAL, SYSTEMATICS, Systematic
from agc.model.templates import check_templates

if TYPE_CHECKING:
    import hist

__all__ = [
    "DATA",
    "LUMINOSITY",
    "POI",
    "build_workspace",
    "configuration",
    "norm_plus_shape",
    "workspace_of",
]

#: The parameter of interest: the ttbar cross-section over its prediction.
POI = "ttbar_norm"
#: The name of the sample that is fitted.
DATA = "pseudodata"
#: The name of the luminosity's nuisance parameter.
LUMINOSITY = "Luminosity"


def configuration(templates: dict[str, hist.Hist[Any]], folder: Path) -> dict[str, Any]:
    """Describe the model in cabinetry's terms.

    Parameters
    ----------
    templates
        One histogram for each region, as `agc.model.templates.fit_templates` makes
        them; regions, observables and binnings are taken from here.
    folder
        Where cabinetry keeps its template files.

    Returns
    -------
    dict
        A cabinetry configuration: one sample for each process, one NormPlusShape
        systematic for each entry of `agc.inputs.variations.SYSTEMATICS`, the
        luminosity, and `POI` on ttbar, which starts at 1 and is bounded by 0 and 10.

    Notes
    -----
    The model is the AGC's (``cabinetry_config.yml``, c37bf59). Systematics without a
    downward variation are mirrored.
    """
    return {
        "General": {
            "Measurement": "CMS_ttbar",
            "POI": POI,
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
        "Samples": [{"Name": DATA, "Data": True}, *({"Name": p} for p in PROCESSES)],
        "Systematics": [
            *(norm_plus_shape(systematic) for systematic in SYSTEMATICS),
            {
                "Name": LUMINOSITY,
                "Type": "Normalization",
                "Up": {"Normalization": LUMI_UNCERTAINTY},
                "Down": {"Normalization": -LUMI_UNCERTAINTY},
            },
        ],
        "NormFactors": [
            {"Name": POI, "Samples": "ttbar", "Nominal": 1.0, "Bounds": [0, 10]}
        ],
    }


def norm_plus_shape(
    systematic: Systematic, processes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Describe one systematic in cabinetry's terms.

    Parameters
    ----------
    systematic
        Variations of rate and shape; mirrored where there is none downwards.
    processes
        The processes of the model that it acts on; by default all of its own.

    Returns
    -------
    dict
        An entry of the configuration's ``Systematics``.
    """
    return {
        "Name": systematic.label,
        "Type": "NormPlusShape",
        "Up": {"VariationPath": systematic.up},
        "Down": (
            {"Symmetrize": True}
            if systematic.down is None
            else {"VariationPath": systematic.down}
        ),
        "Samples": list(processes or systematic.processes),
    }


def build_workspace(
    templates: dict[str, hist.Hist[Any]],
    data: dict[str, hist.Hist[Any]],
    *,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Build the pyhf workspace.

    Parameters
    ----------
    templates
        One histogram for each region, as `agc.model.templates.fit_templates` makes
        them.
    data
        The yields to fit, one histogram for each region in the same binning.
    folder
        Where cabinetry's template files stay for a closer look; created if need be.
        None keeps nothing.

    Returns
    -------
    dict
        A workspace that passed pyhf's schema. ``cabinetry.workspace.save`` writes it.

    Raises
    ------
    agc.model.templates.EmptyTemplateError
        A histogram that the model needs has no events.
    agc.model.templates.MirroredTemplateError
        A one-sided variation doubles a yield or more.
    ValueError
        A yield is negative or not finite.
    OSError
        The folder cannot be written.
    """
    check_templates(templates, data)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        return _built(templates, data, folder)
    with tempfile.TemporaryDirectory(prefix="agc-templates-") as temporary:
        return _built(templates, data, Path(temporary))


def _built(
    templates: dict[str, hist.Hist[Any]],
    data: dict[str, hist.Hist[Any]],
    folder: Path,
) -> dict[str, Any]:
    def template(region: str, sample: str, variation: str) -> hist.Hist[Any]:
        return spectrum(templates[region], sample, variation)

    return workspace_of(configuration(templates, folder), data.__getitem__, template)


def workspace_of(
    config: dict[str, Any],
    data: Callable[[str], hist.Hist[Any]],
    template: Callable[[str, str, str], hist.Hist[Any]],
) -> dict[str, Any]:
    """Build the pyhf workspace of a configuration, with histograms from memory.

    Parameters
    ----------
    config
        A cabinetry configuration; its folder of histograms must exist.
    data
        Returns the yields to fit in a region.
    template
        Returns the histogram of a region, a process and a variation.

    Returns
    -------
    dict
        A workspace that passed pyhf's schema.
    """
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
        if sample.get("Data", False):
            return data(region["Name"])
        variation = (
            NOMINAL if direction is None else systematic[direction]["VariationPath"]
        )
        return template(region["Name"], sample["Name"], variation)

    cabinetry.configuration.validate(config)
    with _quiet("cabinetry.histo"):
        cabinetry.templates.build(config, router=router)
        cabinetry.templates.postprocess(config)
    built: dict[str, Any] = cabinetry.workspace.build(config)
    return built


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
