"""Histograms of a dataset: filled so that no order matters, and normalised."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.errors import AnalysisError
from agc.hists.build import empty_histogram

if TYPE_CHECKING:
    import hist
    from numpy.typing import ArrayLike, NDArray

    from agc.inputs.config import Config

__all__ = ["dataset_histograms", "fill", "in_steps", "normalised"]

#: Weights are rounded to multiples of one over this: sums of them in double precision
#: are exact, and do not depend on the order of events, as long as a bin holds less than
#: 2**29 (5e8) events.
WEIGHT_STEPS = 2.0**24
#: Generators are free to give weights of any size. Those of 2 to this power and more,
#: or less than one over that, are rounded to 24 binary digits of their own instead.
USUAL_EXPONENT = 10


def dataset_histograms(
    config: Config, process: str, variation: str
) -> dict[str, hist.Hist[Any]]:
    """Return an empty histogram of each variable, with the variations of a dataset."""
    import hist

    labels = config.variations_of(process, variation)
    return {
        name: hist.Hist(
            hist.axis.Regular(*variable.bins, name="observable", label=variable.label),
            hist.axis.StrCategory(labels, name="variation", label="Variation"),
            storage=hist.storage.Weight(),
            label="Events",
        )
        for name, variable in config.variables.items()
    }


def fill(
    histogram: hist.Hist[Any], values: ArrayLike, weights: Mapping[str, ArrayLike]
) -> None:
    """Fill a variable of some events with the weights of each variation.

    The histogram has the axes ``observable`` and ``variation``. There is a number for
    each event, or a list of numbers; None counts as overflow. A weight that is not a
    finite number is an `AnalysisError`.
    """
    import awkward as ak

    array = ak.Array(values)
    counts = ak.num(array) if array.ndim > 1 else None
    flat = ak.fill_none(array if counts is None else ak.flatten(array), np.nan)
    axis = histogram.axes["observable"]
    bins = np.asarray(axis.index(ak.to_numpy(flat).astype(np.float64))) + 1
    view: Any = histogram.view(flow=True)
    for label, weight in weights.items():
        each = in_steps(weight)
        if not np.isfinite(each).all():
            msg = (
                f"{np.count_nonzero(~np.isfinite(each))} of {each.size} weights of the "
                f"variation {label!r} are not finite numbers: look at what makes them"
            )
            raise AnalysisError(msg)
        if counts is not None:
            each = np.repeat(each, ak.to_numpy(counts))
        row = histogram.axes["variation"].index(label)
        for field, one in (("value", each), ("variance", in_steps(each * each))):
            view[field][:, row] += np.bincount(bins, one, minlength=axis.extent)


def in_steps(weight: ArrayLike) -> NDArray[np.float64]:
    """Round weights to the nearest multiple of the step."""
    numbers = np.asarray(weight, np.float64)
    rounded: NDArray[np.float64] = np.floor(numbers * WEIGHT_STEPS + 0.5) / WEIGHT_STEPS
    mantissa, exponent = np.frexp(numbers)
    unusual = (np.abs(exponent) > USUAL_EXPONENT) & (numbers != 0)
    if unusual.any():
        own = np.ldexp(np.floor(mantissa * WEIGHT_STEPS + 0.5) / WEIGHT_STEPS, exponent)
        rounded = np.where(unusual, own, rounded)
    return rounded


def normalised(
    datasets: Mapping[str, Mapping[str, hist.Hist[Any]]],
    weights: Mapping[str, float],
    samples: Mapping[str, tuple[str, str]],
    config: Config,
) -> dict[str, hist.Hist[Any]]:
    """Add the datasets' histograms up by process, each with the weight of its events.

    The histograms are `dataset_histograms`', by dataset and variable; ``samples`` are
    each dataset's process and variation. The sums are by variable, with the axes
    ``observable``, ``process`` and ``variation``.
    """
    collisions = {process for process, _ in samples.values()} & {config.data}
    processes = [*config.processes, *collisions]
    total = {
        name: empty_histogram(v.bins, v.label, processes, config.variations)
        for name, v in config.variables.items()
    }
    for dataset, histograms in sorted(datasets.items()):
        weight, process = weights[dataset], samples[dataset][0]
        for name, histogram in histograms.items():
            to: Any = total[name].view(flow=True)
            one: Any = histogram.view(flow=True)
            column = total[name].axes["process"].index(process)
            for row, label in enumerate(histogram.axes["variation"]):
                cell = (slice(None), column, total[name].axes["variation"].index(label))
                value, variance = one["value"][:, row], one["variance"][:, row]
                exact = config.constants.get(label, 1.0)
                if np.array_equal(value, one["value"][:, 0] * in_steps(exact)):
                    # one factor for all events need not be rounded
                    value = one["value"][:, 0] * exact
                    variance = one["variance"][:, 0] * exact**2
                to["value"][cell] += value * weight
                to["variance"][cell] += variance * weight**2
    return total
