"""Tables of the HZZ task: cut flow, yields, control regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from agc.hists.spectra import contents, processes_of, spectrum, variances
from agc.hzz.processor import CHANNELS, in_region
from agc.hzz.reducible import CONTROLS, REDUCIBLE
from agc.hzz.samples import BINS, DATA
from agc.inputs.config import NOMINAL

if TYPE_CHECKING:
    import hist
    from numpy.typing import NDArray

    from agc.hzz.processor import HzzResult
    from agc.hzz.reducible import Reducible
    from agc.inputs.config import Config
    from agc.inputs.filesets import Fileset

__all__ = [
    "WINDOWS",
    "Row",
    "channel_yields",
    "control_regions",
    "cut_flow",
    "yields",
]

#: A row of a table, by column.
Row: TypeAlias = dict[str, str | float]

#: Ranges of the four-lepton mass in GeV, at edges of the bins.
WINDOWS = {
    "Z → 4l": (80.0, 100.0),
    "below the Higgs boson": (100.0, 120.0),
    "Higgs boson": (120.0, 130.0),
    "one Z boson on shell": (130.0, 180.0),
    "two Z bosons on shell": (180.0, 250.0),
}


def cut_flow(result: HzzResult, fileset: Fileset) -> list[Row]:
    """Return what is left after each cut, then of each final state.

    A column for the data and for each simulated process, in events at the luminosity.
    """
    rows: dict[str, Row] = {}
    for name, dataset in fileset.items():
        process = dataset["metadata"]["process"]
        for cut, (_, summed) in result.cutflow.get(name, {}).items():
            row = rows.setdefault(cut, {"cut": cut})
            row[process] = float(row.get(process, 0.0)) + result.weights[name] * summed
    return list(rows.values())


def yields(histogram: hist.Hist[Any], config: Config) -> list[Row]:
    """Return observed and expected events in `WINDOWS`.

    The uncertainty of the sum is that of the number of simulated events.
    """
    processes = processes_of(histogram, list(config.processes))
    rows: list[Row] = []
    for name, (low, high) in WINDOWS.items():
        bins = _between(histogram.axes["observable"].edges, low, high)
        nominal = {p: spectrum(histogram, p, NOMINAL) for p in processes}
        expected = {p: float(contents(h)[bins].sum()) for p, h in nominal.items()}
        variance = sum(float(variances(h)[bins].sum()) for h in nominal.values())
        observed = contents(spectrum(histogram, DATA, NOMINAL))[bins].sum()
        rows.append(
            {
                "window": name,
                "m(4l) [GeV]": f"{low:g} to {high:g}",
                **expected,
                "sum": sum(expected.values()),
                "± simulation": variance**0.5,
                DATA: float(observed),
            }
        )
    return rows


def control_regions(regions: hist.Hist[Any], reducible: Reducible) -> list[Row]:
    """Return the events of each control region, and the estimate that they make.

    In the range of the fit, then in `WINDOWS`. "genuine" are the simulated events with
    four prompt leptons, which are subtracted. Where Z+jets and top pairs are simulated,
    what they have in the signal region follows.
    """
    rows: list[Row] = []
    for name, what in CONTROLS.items():
        counted, variance = in_region(regions, (DATA,), name)
        row = _windows(regions.axes["observable"].edges, counted, variance)
        rows.append({"region": what, **row, "genuine": reducible.genuine[name]})
    shape = reducible.shapes[NOMINAL]
    estimate = _windows(np.linspace(BINS[1], BINS[2], BINS[0] + 1), shape, shape)
    rows.append({"region": "estimate", **estimate, "±": reducible.uncertainty})
    simulated = in_region(regions, ("Z_tt",), "signal")
    if simulated[0].any():
        row = _windows(regions.axes["observable"].edges, *simulated)
        rows.append({"region": "simulated Z+jets and top pairs", **row})
    return rows


def channel_yields(regions: hist.Hist[Any], reducible: Reducible) -> list[Row]:
    """Return observed and expected events by final state, in the range of the fit.

    The uncertainty is the statistical one of the estimated background.
    """
    inside = _between(regions.axes["observable"].edges, *BINS[1:])
    rows: list[Row] = []
    for kind, name in CHANNELS.items():
        row: Row = {"final state": name}
        for process in ("ZZ", "signal", DATA):
            values, _ = in_region(regions, (process,), "signal")
            at = regions.axes["channel"].index(kind)
            row[process] = float(values[inside, at].sum())
        row[REDUCIBLE], row["± reducible"] = reducible.channels[name]
        rows.append(row)
    total: Row = {
        name: sum(float(row[name]) for row in rows) for name in list(rows[0])[1:]
    }
    total |= {"final state": "all", "± reducible": reducible.uncertainty}
    rows.append(total)
    for row in rows:
        row["sum"] = sum(float(row[name]) for name in ("ZZ", "signal", REDUCIBLE))
    return rows


def _between(edges: NDArray[np.float64], low: float, high: float) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (edges[:-1] > low - 1e-6) & (edges[1:] < high + 1e-6)
    return inside


def _windows(
    edges: NDArray[np.float64],
    values: NDArray[np.float64],
    variance: NDArray[np.float64],
) -> Row:
    """Return the sum of bins in the range of the fit, its error, and in `WINDOWS`."""
    row: Row = {}
    for low, high in (BINS[1:], *WINDOWS.values()):
        inside = _between(edges, low, high)
        row[f"{low:g} to {high:g} GeV"] = float(values[inside].sum())
        row.setdefault("±", float(variance[inside].sum() ** 0.5))
    return row
