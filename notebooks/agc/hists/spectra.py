"""One process and variation out of a histogram, its numbers, and other bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    import hist
    from numpy.typing import NDArray

__all__ = ["contents", "processes_of", "rebinned", "spectrum", "variances"]


def spectrum(histogram: hist.Hist[Any], process: str, variation: str) -> hist.Hist[Any]:
    """Return the distribution of the observable, under- and overflow included.

    Raises
    ------
    KeyError
        The histogram has no such process or variation; the message lists those it has.
    """
    for name, wanted in (("process", process), ("variation", variation)):
        known = list(histogram.axes[name])
        if wanted not in known:
            msg = f"the histogram has no {name} {wanted!r}: it has {', '.join(known)}"
            raise KeyError(msg)
    # hist's stubs do not know that one axis is left: a sum over all would be a number.
    return cast("hist.Hist[Any]", histogram[:, process, variation])


def contents(histogram: hist.Hist[Any], *, flow: bool = False) -> NDArray[np.float64]:
    """Return the bin contents in events, one dimension for each axis."""
    return np.asarray(histogram.values(flow=flow), dtype=np.float64)


def variances(histogram: hist.Hist[Any], *, flow: bool = False) -> NDArray[np.float64]:
    """Return the bins' sums of squared weights.

    Raises
    ------
    TypeError
        The storage does not keep them.
    """
    import hist

    if histogram.storage_type is not hist.storage.Weight:
        msg = (
            f"a histogram with the storage {histogram.storage_type.__name__} has no "
            "variances of weighted events: fill it with hist.storage.Weight()"
        )
        raise TypeError(msg)
    return np.asarray(histogram.variances(flow=flow), dtype=np.float64)


def processes_of(histogram: hist.Hist[Any], among: list[str]) -> list[str]:
    """Return which of some processes a histogram has nominal events of."""
    there = [name for name in histogram.axes["process"] if name in among]
    return [
        name
        for name in sorted(there, key=among.index)
        if contents(spectrum(histogram, name, "nominal")).any()
    ]


def rebinned(
    histogram: hist.Hist[Any], *, low: float | None = None, merged: int = 1
) -> hist.Hist[Any]:
    """Return the bins from an edge on, merged in groups, without under- and overflow.

    Raises
    ------
    ValueError
        There is no bin edge at ``low``, or the bins above it do not make whole groups.
    """
    import hist

    axis = histogram.axes["observable"]
    low = float(axis.edges[0]) if low is None else low
    kept = int(np.count_nonzero(axis.edges[:-1] >= low - 1e-9))
    if not np.isclose(axis.edges, low).any() or kept % merged:
        msg = (
            f"the histogram cannot be rebinned: it has {axis.size} bins from "
            f"{axis.edges[0]:g} to {axis.edges[-1]:g}; an edge at {low:g} and a "
            f"multiple of {merged} bins above it are needed"
        )
        raise ValueError(msg)
    # hist's stubs do not know that slices leave the axes there.
    some = cast(
        "hist.Hist[Any]",
        histogram[axis.size - kept : axis.size : hist.rebin(merged), ...],
    )
    edges = some.axes["observable"].edges
    new = hist.Hist(
        hist.axis.Variable(edges, name="observable", label=axis.label, flow=False),
        *(other for other in histogram.axes if other.name != "observable"),
        storage=histogram.storage_type(),
        label=histogram.label,
    )
    new.view()[...] = some.view()
    return new
