"""Tables of the HZZ task: cut flow, yields in windows of mass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from agc.hists.spectra import contents, processes_of, spectrum, variances
from agc.hzz.samples import DATA, LUMI_PB, hzz_config
from agc.inputs.config import NOMINAL
from agc.inputs.filesets import event_weight

if TYPE_CHECKING:
    import hist

    from agc.hzz.processor import HzzResult
    from agc.inputs.filesets import Fileset

__all__ = ["WINDOWS", "Row", "cut_flow", "yields"]

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
    for name, steps in result.cutflow.items():
        weight = event_weight(fileset[name], lumi_pb=LUMI_PB)
        process = fileset[name]["metadata"]["process"]
        for cut, (_, summed) in steps.items():
            row = rows.setdefault(cut, {"cut": cut})
            row[process] = float(row.get(process, 0.0)) + weight * summed
    return list(rows.values())


def yields(histogram: hist.Hist[Any]) -> list[Row]:
    """Return observed and expected events in `WINDOWS`.

    The uncertainty of the sum is that of the number of simulated events.
    """
    edges = histogram.axes["observable"].edges
    processes = processes_of(histogram, list(hzz_config(real_data=False).processes))
    rows: list[Row] = []
    for name, (low, high) in WINDOWS.items():
        bins = (edges[:-1] >= low) & (edges[1:] <= high)
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
                "uncertainty": variance**0.5,
                DATA: float(observed),
            }
        )
    return rows
