"""A HEPData submission: the yields and the fit, as tables that others can read."""

from __future__ import annotations

import contextlib
import itertools
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.io import whole
from agc.hists.spectra import contents, spectrum, variances
from agc.inputs.config import NOMINAL
from agc.model.fit import estimate
from agc.model.templates import fitted_processes
from agc.show.stack import process_yields

if TYPE_CHECKING:
    import hist
    from hepdata_lib import Table, Variable
    from numpy.typing import NDArray

    from agc.inputs.config import Config
    from agc.model.fit import Fit

__all__ = ["write_submission"]

#: Errors of a column by their name: one list, or changes upwards and downwards.
_Errors = dict[str, Any]


def write_submission(
    folder: Path,
    *,
    templates: dict[str, hist.Hist[Any]],
    data: dict[str, hist.Hist[Any]],
    workspace: dict[str, Any],
    fit: Fit,
    config: Config,
    label: str,
) -> list[Path]:
    """Write a HEPData submission, and the archive of it that HEPData takes.

    For each channel a table of the yields before and one after the fit, then the
    parameters, their correlations, and the workspace; what is in the folder is
    replaced. ``label`` says in every table whose events these are. Returns all files.
    """
    import hepdata_lib

    submission = hepdata_lib.Submission()
    submission.comment = (
        f"{label}. {config.name} at {config.lumi_pb:g} /pb: yields, fit parameters and "
        f"the statistical model. What was fitted are {config.points.lower()}."
    )
    for name, template in templates.items():
        title = config.titles[name].replace("\n", ", ")
        where = f"in bins of {template.axes['observable'].label}, {title}."
        for stage, columns in (
            ("before", _prefit(template, config, fitted_processes(templates, config))),
            ("after", _postfit(fit, name, config)),
        ):
            table = _table(
                f"{ {'before': 'Prefit', 'after': 'Postfit'}[stage] } {name}",
                f"Expected yields {stage} the fit, {where} {label}.",
                config,
            )
            table.add_variable(_bins(template))
            observed = (contents(data[name]), {"stat": np.sqrt(variances(data[name]))})
            for column, (values, errors) in {
                **columns,
                config.points: observed,
            }.items():
                variable = _column(column, values, errors)
                variable.add_qualifier("Region", title)
                variable.add_qualifier("SQRT(S)", 13000, "GeV")
                table.add_variable(variable)
            submission.add_table(table)
    for table in _fit_tables(fit, config, label):
        submission.add_table(table)
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "workspace.json"
        model.write_text(json.dumps(workspace, sort_keys=True, indent=1) + "\n")
        submission.add_additional_resource(
            "The statistical model, readable by pyhf.",
            str(model),
            copy_file=True,
            file_type="HistFactory",
        )
        # the archive goes to where one is
        with contextlib.chdir(temporary):
            submission.create_files("tables", validate=False)
        model.unlink()
        written = []
        for path in sorted(Path(temporary).rglob("*.*")):
            written.append(folder / path.relative_to(temporary))
            with whole(written[-1]) as partial:
                shutil.copyfile(path, partial)
    for old in {*(folder / "tables").iterdir()} - {*written}:
        old.unlink()
    return written


def _table(name: str, description: str, config: Config) -> Table:
    import hepdata_lib

    table = hepdata_lib.Table(name)
    table.description = description
    table.location = ""
    table.keywords = {**config.keywords, "cmenergies": [13000.0]}
    return table


def _bins(template: hist.Hist[Any]) -> Variable:
    import hepdata_lib

    axis = template.axes["observable"]
    name, _, unit = axis.label.partition(" [")
    bins = hepdata_lib.Variable(name, units=unit.rstrip("]"))
    bins.values = list(itertools.pairwise(axis.edges.tolist()))
    return bins


def _column(name: str, values: Any, errors: _Errors, units: str = "Events") -> Variable:  # noqa: ANN401 - numbers of any kind
    import hepdata_lib

    column = hepdata_lib.Variable(
        name,
        is_independent=False,
        is_binned=False,
        units=units,
        zero_uncertainties_warning=False,
    )
    column.values = values
    column.digits = 6
    for label, found in errors.items():
        error = hepdata_lib.Uncertainty(
            label, is_symmetric=not isinstance(found, tuple)
        )
        error.values = (
            [(down, up) for up, down in zip(*found, strict=True)]
            if isinstance(found, tuple)
            else found
        )
        column.add_uncertainty(error)
    return column


def _prefit(
    template: hist.Hist[Any], config: Config, processes: list[str]
) -> dict[str, tuple[NDArray[np.float64], _Errors]]:
    """Return yields with statistics and each systematic (mirrored without a down).

    In the sum, statistics add in quadrature, all else linearly.
    """
    columns: dict[str, tuple[NDArray[np.float64], _Errors]] = {}
    changes: dict[str, list[tuple[NDArray[np.float64], ...]]] = {}
    nominal = {p: spectrum(template, p, NOMINAL) for p in processes}
    for process, histogram in nominal.items():
        values = contents(histogram)
        errors: _Errors = {}
        if variances(histogram).any():  # else the yields were not counted
            errors["stat"] = np.sqrt(variances(histogram))
        for one in config.systematics:
            if not one.acts_on(process):
                continue
            up = (
                one.size * values
                if one.kind == "norm"
                else contents(spectrum(template, process, one.up)) - values
            )
            down = (
                -up
                if one.down is None
                else contents(spectrum(template, process, one.down)) - values
            )
            errors[one.label] = (up, down)
            changes.setdefault(one.label, []).append((up, down))
        columns[config.processes[process].label] = values, errors
    columns["Total prediction"] = (
        np.sum([contents(one) for one in nominal.values()], axis=0),
        {
            "stat": np.sqrt(
                np.sum([variances(one) for one in nominal.values()], axis=0)
            ),
            **{name: tuple(np.sum(some, axis=0)) for name, some in changes.items()},
        },
    )
    return columns


def _postfit(
    fit: Fit, name: str, config: Config
) -> dict[str, tuple[NDArray[np.float64], _Errors]]:
    yields, uncertainty = process_yields(fit.postfit, name)
    model = fit.postfit.model.config
    errors = np.asarray(fit.postfit.total_stdev_model_bins[model.channels.index(name)])
    return {
        **{
            config.processes[p].label: (yields[p], {"total": errors[i]})
            for i, p in enumerate(model.samples)
        },
        "Total prediction": (
            np.sum(list(yields.values()), axis=0),
            {"total": uncertainty},
        ),
    }


def _fit_tables(fit: Fit, config: Config, label: str) -> list[Table]:
    import hepdata_lib

    def names(title: str, values: list[str]) -> Variable:
        return hepdata_lib.Variable(title, is_binned=False, values=values)

    results = fit.results
    fitted = [estimate(results, name) for name in results.labels]
    parameters = _table("Fit parameters", f"Best-fit values. {label}.", config)
    parameters.add_variable(names("Parameter", results.labels))
    errors = ([one.up for one in fitted], [-one.down for one in fitted])
    parameters.add_variable(
        _column("Best-fit value", [f.value for f in fitted], {"fit": errors}, units="")
    )
    correlations = _table(
        "Fit correlations", f"Correlations of the parameters. {label}.", config
    )
    pairs = list(itertools.product(results.labels, repeat=2))
    correlations.add_variable(names("First parameter", [pair[0] for pair in pairs]))
    correlations.add_variable(names("Second parameter", [pair[1] for pair in pairs]))
    correlations.add_variable(
        _column("Correlation", np.ravel(results.corr_mat), {}, units="")
    )
    return [parameters, correlations]
