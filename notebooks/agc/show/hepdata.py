"""A HEPData submission: the yields and the fit, as tables that others can read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agc.hists.build import REGIONS
from agc.inputs.samples import LUMI_PB
from agc.model.fit import Fit
from agc.show.hepdata_tables import (
    correlation_table,
    parameter_table,
    postfit_table,
    prefit_table,
)

if TYPE_CHECKING:
    import hist

__all__ = ["write_submission"]

#: HEPData's own names for what a search should find.
_KEYWORDS = [
    {"name": "reactions", "values": ["P P --> TOP TOPBAR X"]},
    {"name": "observables", "values": ["N"]},
    {"name": "cmenergies", "values": [13000.0]},
    {"name": "phrases", "values": ["Top", "Cross Section", "Proton-Proton Scattering"]},
]
_WORKSPACE = "workspace.json"


def write_submission(
    folder: Path,
    *,
    templates: dict[str, hist.Hist[Any]],
    data: dict[str, hist.Hist[Any]],
    workspace: dict[str, Any],
    fit: Fit,
    label: str,
) -> list[Path]:
    """Write a HEPData submission: ``submission.yaml``, its tables, the workspace.

    Parameters
    ----------
    folder
        Where to; created if need be. Files of an earlier run are replaced.
    templates
        One histogram for each region, in the binning of the fit.
    data
        The pseudo-data in the same binning.
    workspace
        What was fitted; joins the submission as ``workspace.json``.
    fit
        Its fit.
    label
        Whose events these are; stands in the description of every table.

    Returns
    -------
    list of Path
        The files, ``submission.yaml`` first: for each region a table of the yields
        before and one after the fit, then the parameters and their correlations.

    Raises
    ------
    OSError
        The files cannot be written.

    Notes
    -----
    The format is HEPData's, schema version 1.1.1.
    """
    import yaml

    tables = _tables(templates, data, fit)
    folder.mkdir(parents=True, exist_ok=True)
    documents: list[dict[str, Any]] = [
        {
            "comment": (
                f"{label}. The AGC ttbar task at {LUMI_PB:g} /pb: yields, fit "
                "parameters and the statistical model. The fitted data are "
                "pseudo-data made of simulated events."
            ),
            "additional_resources": [
                {
                    "location": _WORKSPACE,
                    "description": "The statistical model, readable by pyhf.",
                    "type": "HistFactory",
                }
            ],
        }
    ]
    written = [folder / "submission.yaml"]
    for name, (description, table) in tables.items():
        path = folder / f"{name.lower().replace(' ', '_')}.yaml"
        path.write_text(_text(yaml.safe_dump, table), encoding="utf-8")
        documents.append(
            {
                "name": name,
                "description": f"{description} {label}.",
                "keywords": _KEYWORDS,
                "data_file": path.name,
            }
        )
        written.append(path)
    written[0].write_text(_text(yaml.safe_dump_all, documents), encoding="utf-8")
    resource = folder / _WORKSPACE
    resource.write_text(
        json.dumps(workspace, sort_keys=True, indent=1) + "\n", encoding="utf-8"
    )
    return [*written, resource]


def _tables(
    templates: dict[str, hist.Hist[Any]], data: dict[str, hist.Hist[Any]], fit: Fit
) -> dict[str, tuple[str, dict[str, Any]]]:
    tables = {}
    for region in REGIONS:
        where = f"{region.observable} in the region {region.name} ({region.title})"
        tables[f"Prefit {region.name}"] = (
            f"Expected yields before the fit, in bins of {where}.",
            prefit_table(templates[region.name], data[region.name], region),
        )
        tables[f"Postfit {region.name}"] = (
            f"Expected yields after the fit, in bins of {where}.",
            postfit_table(fit.postfit, data[region.name], region),
        )
    tables["Fit parameters"] = (
        "Best-fit values of the parameters, with their uncertainties.",
        parameter_table(fit.results),
    )
    tables["Fit correlations"] = (
        "Correlations of the parameters in the fit.",
        correlation_table(fit.results),
    )
    return tables


def _text(dump: Any, content: Any) -> str:  # noqa: ANN401 - one of PyYAML's dumpers
    text: str = dump(
        content, sort_keys=False, default_flow_style=None, allow_unicode=True, width=100
    )
    return text
