"""The histograms as the fit uses them: rebinned, and checked before they are fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agc.errors import AnalysisError
from agc.hists.spectra import contents, processes_of, rebinned, spectrum
from agc.inputs.config import NOMINAL

if TYPE_CHECKING:
    import hist

    from agc.inputs.config import Config

__all__ = [
    "EmptyTemplateError",
    "MirroredTemplateError",
    "check_templates",
    "fit_templates",
    "fitted_processes",
]


class EmptyTemplateError(AnalysisError):
    """A fit was asked for, but a histogram that it needs has no events."""


class MirroredTemplateError(AnalysisError):
    """A one-sided variation is too large to be mirrored around nominal."""


def fit_templates(
    histograms: dict[str, hist.Hist[Any]], config: Config
) -> dict[str, hist.Hist[Any]]:
    """Return the histograms that are fitted, in the bins of the fit.

    Raises
    ------
    ValueError
        A histogram's bins do not suit those of its entry in ``config.fit_channels``.
    """
    found = {}
    for name, channel in config.fit_channels.items():
        try:
            found[name] = rebinned(
                histograms[name], low=channel.low, merged=channel.merged
            )
        except ValueError as error:
            msg = f"{name}: {error}"
            raise ValueError(msg) from error
    return found


def fitted_processes(templates: dict[str, hist.Hist[Any]], config: Config) -> list[str]:
    """Return the processes of the model: all but optional ones without events."""
    names = list(config.processes)
    there = {p for h in templates.values() for p in processes_of(h, names)}
    return [p for p in names if p in there or not config.processes[p].optional]


def check_templates(
    templates: dict[str, hist.Hist[Any]],
    data: dict[str, hist.Hist[Any]],
    config: Config,
) -> None:
    """Refuse what cannot be fitted, and say which histogram is to blame.

    Raises
    ------
    EmptyTemplateError
        A template or a region's data have no events in the fitted range, or there are
        data where nothing is predicted; all such are listed.
    MirroredTemplateError
        A one-sided variation doubles a yield or more, so that its mirror image leaves
        nothing: the model has no value there.
    ValueError
        A yield is negative or not finite.

    Notes
    -----
    A shape and its normalisation are separate terms of the model: both are ratios to
    the template's total, which therefore must not be zero. Single empty bins are fine.
    """
    empty: list[str] = []
    doubled: list[str] = []
    processes = fitted_processes(templates, config)
    for region, histogram in templates.items():
        for process in processes:
            total = _total(histogram, region, process, NOMINAL)
            if total <= 0:
                empty.append(f"{region}/{process}/{NOMINAL}")
            for systematic in config.acting(process):
                for variation in systematic.variations:
                    name = f"{region}/{process}/{variation}"
                    varied = _total(histogram, region, process, variation)
                    empty += [name] * (varied <= 0)
                    # Two equal sums of floats may differ in the last digits.
                    if systematic.down is None and varied > 2 * total * (1 - 1e-9):
                        doubled.append(f"{name} ({varied:.1f}, nominal {total:.1f})")
        empty += _without_events(region, histogram, data[region], processes)
    if empty:
        msg = (
            f"the fit needs events in: {', '.join(empty)}. Nothing was selected there: "
            "read more files, or look whether that sample was read at all"
        )
        raise EmptyTemplateError(msg)
    if doubled:
        msg = (
            f"too large to be mirrored around nominal: {', '.join(doubled)}. These are "
            "probably a few events each: read more files"
        )
        raise MirroredTemplateError(msg)


def _total(
    histogram: hist.Hist[Any], region: str, process: str, variation: str
) -> float:
    values = contents(spectrum(histogram, process, variation))
    if not np.isfinite(values).all() or (values < 0).any():
        msg = (
            f"the template {region}/{process}/{variation} has negative or undefined "
            f"yields: {values.tolist()}; the likelihood is a product of Poisson terms "
            "and has no value there"
        )
        raise ValueError(msg)
    return float(values.sum())


def _without_events(
    region: str,
    template: hist.Hist[Any],
    data: hist.Hist[Any],
    processes: list[str],
) -> list[str]:
    if not contents(data).any():
        return [f"{region}/data"]
    predicted = sum(contents(spectrum(template, p, NOMINAL)) for p in processes)
    edges = data.axes["observable"].edges
    return [
        f"{region}/all processes/{NOMINAL} from {edges[i]:g} to {edges[i + 1]:g} GeV"
        for i in np.flatnonzero((predicted == 0) & (contents(data) > 0))
    ]
