"""Whether two sets of histograms agree, with bin migration allowed and counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.spectra import contents, spectrum, variances

if TYPE_CHECKING:
    import hist
    from numpy.typing import NDArray

__all__ = ["compare"]

#: Contents closer than this, relative to the larger one, are the same: weights are
#: summed in another order when chunks or workers differ.
RTOL = 1e-6
#: A bin may differ by less than this many events.
MAX_EVENTS = 2.0


@dataclass(frozen=True)
class Comparison:
    """What a comparison found."""

    compared: int
    """How many pairs of region, process and variation were filled and compared."""
    migrations: int
    """How many bins changed although the events are the same, in agreeing pairs."""
    differences: tuple[str, ...]
    """One line for each pair that does not agree; empty if all do."""

    @property
    def agree(self) -> bool:
        """Whether nothing differs but by migration between neighbouring bins."""
        return not self.differences

    def __str__(self) -> str:
        """Return the verdict, then one line for each difference."""
        verdict = (
            f"{self.compared} histograms compared, {len(self.differences)} differ, "
            f"{self.migrations} bins with migration"
        )
        return "\n".join([verdict, *self.differences])


def compare(
    found: dict[str, hist.Hist[Any]], expected: dict[str, hist.Hist[Any]]
) -> Comparison:
    """Compare by region, bin by bin, with under- and overflow.

    Notes
    -----
    An event at a bin's edge may fall on its other side on another processor. So a run
    of neighbouring bins that differ still agrees if their sums agree and each differs
    by less than two events: the rule of the AGC's ``validate_histograms.py`` (c37bf59),
    which writes two events as 2.0. Here an event is the largest mean weight,
    variance over content, of those bins.
    """
    differences: list[str] = []
    compared = migrations = 0
    for region in sorted({*found, *expected}):
        if region not in found or region not in expected:
            side = "expected only" if region in expected else "found only"
            differences.append(f"{region}: {side}")
            continue
        a, b = found[region], expected[region]
        if not _same_axes(a, b):
            differences.append(f"{region}: the axes differ: {a.axes} and {b.axes}")
            continue
        for process in a.axes["process"]:
            for variation in a.axes["variation"]:
                pair = [spectrum(side, process, variation) for side in (a, b)]
                if not any(contents(side, flow=True).any() for side in pair):
                    continue
                compared += 1
                moved, fault = _migrations(*pair)
                if fault:
                    differences.append(f"{region}/{process}/{variation}: {fault}")
                else:
                    migrations += moved
    return Comparison(compared, migrations, tuple(differences))


def _same_axes(a: hist.Hist[Any], b: hist.Hist[Any]) -> bool:
    x, y = a.axes["observable"], b.axes["observable"]
    return (
        x.size == y.size
        and np.allclose(x.edges, y.edges)
        and all(
            list(a.axes[name]) == list(b.axes[name])
            for name in ("process", "variation")
        )
    )


def _migrations(found: hist.Hist[Any], expected: hist.Hist[Any]) -> tuple[int, str]:
    """Return how many bins differ by migration, and what is wrong, if anything."""
    a, b = contents(found, flow=True), contents(expected, flow=True)
    differ = ~np.isclose(a, b, rtol=RTOL, atol=0)
    if not differ.any():
        return 0, ""
    weights = np.maximum(_mean_weight(found), _mean_weight(expected))
    for run in _runs(differ):
        one_event = weights[run].max()
        changes = a[run] - b[run]
        where = f"bins {run.start} to {run.stop - 1}"
        if not np.isclose(a[run].sum(), b[run].sum(), rtol=RTOL, atol=0):
            events = changes.sum() / one_event
            return 0, f"{where} have {events:+.2f} events in all"
        largest = np.abs(changes).max() / one_event
        if largest >= MAX_EVENTS:
            return 0, f"{where} differ by up to {largest:.2f} events, sums agree"
    return int(differ.sum()), ""


def _mean_weight(one: hist.Hist[Any]) -> NDArray[np.float64]:
    value = contents(one, flow=True)
    mean = np.zeros_like(value)
    np.divide(variances(one, flow=True), value, out=mean, where=value > 0)
    return mean


def _runs(differ: NDArray[np.bool_]) -> list[slice]:
    steps = np.flatnonzero(np.diff(np.concatenate([[False], differ, [False]])))
    return [
        slice(int(first), int(end))
        for first, end in zip(steps[::2], steps[1::2], strict=True)
    ]
