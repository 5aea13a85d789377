"""The tables of a HEPData submission, as the nested dictionaries that YAML holds."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.build import Region
from agc.hists.spectra import contents, spectrum, variances
from agc.inputs.samples import PROCESS_LABELS, PROCESSES
from agc.inputs.variations import LUMI_UNCERTAINTY, NOMINAL, SYSTEMATICS
from agc.model.fit import estimate
from agc.model.workspace import LUMINOSITY

if TYPE_CHECKING:
    import hist
    from cabinetry.fit.results_containers import FitResults
    from cabinetry.model_utils import ModelPrediction
    from numpy.typing import NDArray

__all__ = ["correlation_table", "parameter_table", "postfit_table", "prefit_table"]

_TOTAL = "Total prediction"
_DATA = "Pseudo-data"


def prefit_table(
    template: hist.Hist[Any], data: hist.Hist[Any], region: Region
) -> dict[str, Any]:
    """Tabulate a region's yields before the fit, each uncertainty on its own.

    Parameters
    ----------
    template
        The region's histogram in the binning of the fit.
    data
        Its pseudo-data in the same binning.
    region
        Whose axis label and title are used.

    Returns
    -------
    dict
        A column for each process, their sum, and the pseudo-data. Errors: the
        simulation's statistics, then each systematic as the change it makes upwards
        and downwards (mirrored where there is no downward variation), then the
        luminosity. In the sum, statistics add in quadrature, all else linearly.
    """
    nominal = {p: contents(spectrum(template, p, NOMINAL)) for p in PROCESSES}
    statistics = {p: variances(spectrum(template, p, NOMINAL)) for p in PROCESSES}
    shifts = {p: _shifts(template, p) for p in PROCESSES}
    columns = [
        _column(
            PROCESS_LABELS[p],
            nominal[p],
            {"stat": np.sqrt(statistics[p])},
            shifts[p],
            region,
        )
        for p in PROCESSES
    ]
    summed = {
        name: tuple(
            np.sum([shifts[p][name][side] for p in PROCESSES if name in shifts[p]], 0)
            for side in (0, 1)
        )
        for name in [*(s.label for s in SYSTEMATICS), LUMINOSITY]
    }
    columns.append(
        _column(
            _TOTAL,
            np.sum(list(nominal.values()), axis=0),
            {"stat": np.sqrt(np.sum(list(statistics.values()), axis=0))},
            summed,
            region,
        )
    )
    columns.append(_data_column(data, region))
    return {
        "independent_variables": [_bins(data, region)],
        "dependent_variables": columns,
    }


def postfit_table(
    prediction: ModelPrediction, data: hist.Hist[Any], region: Region
) -> dict[str, Any]:
    """Tabulate a region's yields after the fit with their total uncertainties.

    Parameters
    ----------
    prediction
        The fitted model's.
    data
        The region's pseudo-data in the binning of the fit.
    region
        Whose axis label and title are used.

    Returns
    -------
    dict
        A column for each process, their sum, and the pseudo-data.
    """
    config = prediction.model.config
    channel = config.channels.index(region.name)
    yields = np.asarray(prediction.model_yields[channel])
    errors = np.asarray(prediction.total_stdev_model_bins[channel])
    rows = {PROCESS_LABELS[p]: config.samples.index(p) for p in PROCESSES}
    columns = [
        _column(name, yields[row], {"total": errors[row]}, {}, region)
        for name, row in rows.items()
    ]
    columns.append(
        _column(_TOTAL, yields.sum(axis=0), {"total": errors[-1]}, {}, region)
    )
    columns.append(_data_column(data, region))
    return {
        "independent_variables": [_bins(data, region)],
        "dependent_variables": columns,
    }


def parameter_table(results: FitResults) -> dict[str, Any]:
    """Tabulate the best-fit values; asymmetric errors come from a likelihood scan.

    Parameters
    ----------
    results
        Of a fit, as cabinetry returns them.

    Returns
    -------
    dict
        One row for each parameter, in the fit's order.
    """
    values = []
    for name in results.labels:
        fitted = estimate(results, name)
        error: dict[str, Any] = (
            {
                "asymerror": {
                    "plus": _rounded(fitted.up),
                    "minus": -_rounded(fitted.down),
                }
            }
            if name in results.minos_uncertainty
            else {"symerror": _rounded(fitted.uncertainty)}
        )
        values.append(
            {"value": _rounded(fitted.value), "errors": [{**error, "label": "fit"}]}
        )
    return {
        "independent_variables": [
            {
                "header": {"name": "Parameter"},
                "values": [{"value": name} for name in results.labels],
            }
        ],
        "dependent_variables": [
            {"header": {"name": "Best-fit value"}, "values": values}
        ],
    }


def correlation_table(results: FitResults) -> dict[str, Any]:
    """Tabulate the correlation matrix, one row for each pair of parameters.

    Parameters
    ----------
    results
        Of a fit, as cabinetry returns them.

    Returns
    -------
    dict
        All pairs, in both orders, as HEPData draws matrices.
    """
    labels = results.labels
    pairs = [(i, j) for i in range(len(labels)) for j in range(len(labels))]
    return {
        "independent_variables": [
            {
                "header": {"name": title},
                "values": [{"value": labels[pair[side]]} for pair in pairs],
            }
            for side, title in enumerate(("First parameter", "Second parameter"))
        ],
        "dependent_variables": [
            {
                "header": {"name": "Correlation"},
                "values": [{"value": _rounded(results.corr_mat[p])} for p in pairs],
            }
        ],
    }


def _shifts(
    template: hist.Hist[Any], process: str
) -> dict[str, tuple[NDArray[np.float64], ...]]:
    nominal = contents(spectrum(template, process, NOMINAL))
    shifts: dict[str, tuple[NDArray[np.float64], ...]] = {}
    for systematic in SYSTEMATICS:
        if process in systematic.processes:
            up = contents(spectrum(template, process, systematic.up)) - nominal
            down = (
                -up
                if systematic.down is None
                else contents(spectrum(template, process, systematic.down)) - nominal
            )
            shifts[systematic.label] = (up, down)
    shifts[LUMINOSITY] = (LUMI_UNCERTAINTY * nominal, -LUMI_UNCERTAINTY * nominal)
    return shifts


def _bins(data: hist.Hist[Any], region: Region) -> dict[str, Any]:
    edges = data.axes["observable"].edges.tolist()
    name, _, unit = region.observable.partition(" [")
    return {
        "header": {"name": name, "units": unit.rstrip("]")},
        "values": [
            {"low": low, "high": high} for low, high in itertools.pairwise(edges)
        ],
    }


def _data_column(data: hist.Hist[Any], region: Region) -> dict[str, Any]:
    observed = contents(data)
    return _column(_DATA, observed, {"stat": np.sqrt(observed)}, {}, region)


def _column(
    name: str,
    values: NDArray[np.float64],
    symmetric: dict[str, NDArray[np.float64]],
    shifts: dict[str, tuple[NDArray[np.float64], ...]],
    region: Region,
) -> dict[str, Any]:
    rows = []
    for i, value in enumerate(values):
        errors: list[dict[str, Any]] = [
            {"symerror": _rounded(error[i]), "label": label}
            for label, error in symmetric.items()
        ]
        errors.extend(
            {
                "asymerror": {"plus": _rounded(up[i]), "minus": _rounded(down[i])},
                "label": label,
            }
            for label, (up, down) in shifts.items()
        )
        row: dict[str, Any] = {"value": _rounded(value)}
        # HEPData refuses a value whose errors are all zero: an empty bin has none.
        if any(
            e.get("symerror") or any(e.get("asymerror", {}).values()) for e in errors
        ):
            row["errors"] = errors
        rows.append(row)
    return {
        "header": {"name": name, "units": "Events"},
        "qualifiers": [
            {"name": "Region", "value": f"{region.name}: {region.title}"},
            {"name": "SQRT(S)", "value": 13000, "units": "GeV"},
        ],
        "values": rows,
    }


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")
