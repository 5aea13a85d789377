"""The histograms as the fit uses them: rebinned, and checked before they are fitted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from agc.errors import AnalysisError
from agc.hists.spectra import contents, spectrum
from agc.inputs.samples import PROCESSES
from agc.inputs.variations import NOMINAL, SYSTEMATICS

if TYPE_CHECKING:
    import hist

__all__ = [
    "FIT_LOW",
    "FIT_MERGED_BINS",
    "EmptyTemplateError",
    "MirroredTemplateError",
    "check_templates",
    "fit_templates",
]

#: Lower edge of the fitted range in GeV (AGC reference implementation, c37bf59).
FIT_LOW = 110.0
#: How many bins of the histograms make one bin of the fit (same source).
FIT_MERGED_BINS = 2


class EmptyTemplateError(AnalysisError):
    """A fit was asked for, but a histogram that it needs has no events."""


class MirroredTemplateError(AnalysisError):
    """A one-sided variation is too large to be mirrored around nominal."""


def fit_templates(histograms: dict[str, hist.Hist[Any]]) -> dict[str, hist.Hist[Any]]:
    """Rebin histograms for the fit; what lies outside of the fitted range is dropped.

    Parameters
    ----------
    histograms
        One histogram for each region; its first axis is ``observable`` in GeV.

    Returns
    -------
    dict of str to hist.Hist
        The same regions and other axes; ``observable`` has 11 bins from 110 to 550 GeV
        and neither under- nor overflow. The input is unchanged.

    Raises
    ------
    ValueError
        A histogram has no bin edge at `FIT_LOW`, or the bins above it cannot be merged
        in groups of `FIT_MERGED_BINS`.
    """
    return {region: _rebinned(region, h) for region, h in histograms.items()}


def _rebinned(region: str, histogram: hist.Hist[Any]) -> hist.Hist[Any]:
    import hist

    axis = histogram.axes["observable"]
    n_fitted = np.count_nonzero(axis.edges[:-1] >= FIT_LOW - 1e-9)
    if not np.isclose(axis.edges, FIT_LOW).any() or n_fitted % FIT_MERGED_BINS:
        msg = (
            f"the {region} histogram cannot be rebinned for the fit: it has "
            f"{axis.size} bins from {axis.edges[0]:g} to {axis.edges[-1]:g} GeV; an "
            f"edge at {FIT_LOW:g} GeV and a multiple of {FIT_MERGED_BINS} bins above "
            "it are needed"
        )
        raise ValueError(msg)
    first = axis.size - int(n_fitted)
    # hist's stubs do not know that slices leave the axes there.
    merged = cast(
        "hist.Hist[Any]",
        histogram[first : axis.size : hist.rebin(FIT_MERGED_BINS), ...],
    )
    rebinned = hist.Hist(
        hist.axis.Variable(
            merged.axes["observable"].edges,
            name="observable",
            label=axis.label,
            flow=False,
        ),
        *(other for other in histogram.axes if other.name != "observable"),
        storage=histogram.storage_type(),
        label=histogram.label,
    )
    rebinned.view()[...] = merged.view()
    return rebinned


def check_templates(
    templates: dict[str, hist.Hist[Any]], data: dict[str, hist.Hist[Any]]
) -> None:
    """Refuse what cannot be fitted, and say which histogram is to blame.

    Parameters
    ----------
    templates
        One histogram for each region, as `fit_templates` makes them.
    data
        The observed yields of each region in the same binning.

    Raises
    ------
    EmptyTemplateError
        A template or a region's data has no events in the fitted range, or there are
        data where nothing is predicted. All such regions, processes and variations
        are listed.
    MirroredTemplateError
        A one-sided variation doubles a yield or more, so that its mirror image leaves
        nothing: the model has no value there. All such are listed.
    ValueError
        A yield is negative or not finite.

    Notes
    -----
    A shape and its normalisation are separate terms of the model: both are ratios to
    the template's total, which therefore must not be zero. Single empty bins are fine.
    """
    empty: list[str] = []
    for region, histogram in templates.items():
        for process in PROCESSES:
            for variation in (
                NOMINAL,
                *(
                    name
                    for systematic in SYSTEMATICS
                    if process in systematic.processes
                    for name in systematic.variations
                ),
            ):
                name = f"{region}/{process}/{variation}"
                if _total(spectrum(histogram, process, variation), name) <= 0:
                    empty.append(name)
        if _total(data[region], f"{region}/data") <= 0:
            empty.append(f"{region}/data")
        empty.extend(_uncovered(region, histogram, data[region]))
    if empty:
        msg = (
            f"the fit needs events in: {', '.join(empty)}. Nothing was selected there: "
            "read more files, or look whether that sample was read at all"
        )
        raise EmptyTemplateError(msg)
    _check_mirrored(templates)


def _check_mirrored(templates: dict[str, hist.Hist[Any]]) -> None:
    doubled = []
    for region, histogram in templates.items():
        for systematic in SYSTEMATICS:
            if systematic.down is not None:
                continue
            for process in systematic.processes:
                nominal, up = (
                    float(contents(spectrum(histogram, process, variation)).sum())
                    for variation in (NOMINAL, systematic.up)
                )
                # Two equal sums of floats may differ in the last digits.
                if up >= 2 * nominal * (1 - 1e-9):
                    name = f"{region}/{process}/{systematic.up}"
                    doubled.append(f"{name} ({up:.1f}, nominal {nominal:.1f})")
    if doubled:
        msg = (
            f"too large to be mirrored around nominal: {', '.join(doubled)}. These are "
            "probably a few events each: read more files"
        )
        raise MirroredTemplateError(msg)


def _total(histogram: hist.Hist[Any], name: str) -> float:
    values = contents(histogram)
    if not np.isfinite(values).all() or (values < 0).any():
        msg = (
            f"the template {name} has negative or undefined yields: {values.tolist()}; "
            "the likelihood is a product of Poisson terms and has no value there"
        )
        raise ValueError(msg)
    return float(values.sum())


def _uncovered(
    region: str, template: hist.Hist[Any], data: hist.Hist[Any]
) -> list[str]:
    predicted = sum(contents(spectrum(template, p, NOMINAL)) for p in PROCESSES)
    edges = data.axes["observable"].edges
    return [
        f"{region}/all processes/{NOMINAL} from {edges[i]:g} to {edges[i + 1]:g} GeV"
        for i in np.flatnonzero((predicted == 0) & (contents(data) > 0))
    ]
