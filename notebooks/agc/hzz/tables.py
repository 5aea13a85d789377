"""Tables of the HZZ task: inputs, cut flow, yields in windows of mass."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from agc.hists.spectra import contents, spectrum, variances
from agc.hzz.histograms import event_weight, processes_of
from agc.hzz.samples import DATA, sample_named
from agc.hzz.selection import CHANNELS, CUTS
from agc.inputs.variations import NOMINAL

if TYPE_CHECKING:
    import hist

    from agc.hzz.files import Inputs
    from agc.hzz.runs import HzzResult

__all__ = ["WINDOWS", "Row", "cut_flow", "input_table", "yields"]

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


def input_table(inputs: Inputs) -> list[Row]:
    """Return one row for each dataset.

    Parameters
    ----------
    inputs
        As `agc.hzz.files.hzz_inputs` gives them.

    Returns
    -------
    list of dict
        With the columns ``dataset``, ``process``, ``cross-section [pb]`` (0 for
        collisions), ``weight`` (what an event's own weight is multiplied by), ``file``.
    """
    return [
        {
            "dataset": name,
            "process": (sample := sample_named(name)).process,
            "cross-section [pb]": sample.xsec_pb,
            "weight": event_weight(sample, inputs.sumw.get(name)),
            "file": Path(file).name,
        }
        for name, file in inputs.files.items()
    ]


def cut_flow(result: HzzResult) -> list[Row]:
    """Return what is left after each cut, and of each final state.

    Parameters
    ----------
    result
        Of a run.

    Returns
    -------
    list of dict
        A row for each cut, then one for each final state; a column for the data and for
        each simulated process, in events at the luminosity.
    """
    rows: list[Row] = [{"cut": name} for name in (*CUTS, *CHANNELS.values())]
    for name, steps in result.cutflow.items():
        sample = sample_named(name)
        weight = event_weight(sample, result.sumw.get(name))
        both = np.concatenate([steps, result.channels[name]])
        for row, (_, summed) in zip(rows, both, strict=True):
            row[sample.process] = float(row.get(sample.process, 0.0)) + weight * summed
    return rows


def yields(histogram: hist.Hist[Any]) -> list[Row]:
    """Return observed and expected events in windows of mass.

    Parameters
    ----------
    histogram
        As `agc.hzz.histograms.histogram_of` returns it.

    Returns
    -------
    list of dict
        A row for each of `WINDOWS`: ``window``, ``m(4l) [GeV]``, the processes, their
        ``sum``, its ``uncertainty`` from the number of simulated events, the ``data``.
    """
    edges = histogram.axes["observable"].edges
    processes = processes_of(histogram)
    rows: list[Row] = []
    for name, (low, high) in WINDOWS.items():
        bins = (edges[:-1] >= low) & (edges[1:] <= high)
        expected = {
            p: float(contents(spectrum(histogram, p, NOMINAL))[bins].sum())
            for p in processes
        }
        variance = sum(
            float(variances(spectrum(histogram, p, NOMINAL))[bins].sum())
            for p in processes
        )
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
