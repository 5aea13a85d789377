"""One process and variation out of a region's histogram, and its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    import hist
    from numpy.typing import NDArray

__all__ = ["contents", "spectrum", "variances"]


def spectrum(histogram: hist.Hist[Any], process: str, variation: str) -> hist.Hist[Any]:
    """Return the distribution of the observable for one process and variation.

    Parameters
    ----------
    histogram
        With the axes ``observable``, ``process`` and ``variation``.
    process, variation
        Labels on those axes.

    Returns
    -------
    hist.Hist
        With the axis ``observable`` alone; under- and overflow are kept.

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
    """Return the bin contents.

    Parameters
    ----------
    histogram
        Any histogram.
    flow
        Whether under- and overflow are included.

    Returns
    -------
    numpy.ndarray
        In events at the luminosity of the task, one dimension for each axis.
    """
    return np.asarray(histogram.values(flow=flow), dtype=np.float64)


def variances(histogram: hist.Hist[Any], *, flow: bool = False) -> NDArray[np.float64]:
    """Return the bins' variances.

    Parameters
    ----------
    histogram
        With the Weight storage.
    flow
        Whether under- and overflow are included.

    Returns
    -------
    numpy.ndarray
        The sums of squared weights, one dimension for each axis.

    Raises
    ------
    TypeError
        The storage does not keep the sums of squared weights.
    """
    import hist

    if histogram.storage_type is not hist.storage.Weight:
        msg = (
            f"a histogram with the storage {histogram.storage_type.__name__} has no "
            "variances of weighted events: fill it with hist.storage.Weight()"
        )
        raise TypeError(msg)
    return np.asarray(histogram.variances(flow=flow), dtype=np.float64)
