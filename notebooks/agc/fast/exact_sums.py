"""Sums of weights that do not depend on the order in which they are added.

Not on the order of the events, on how they are cut into chunks, or on which worker
adds what: every weight is a multiple of 2**-24, so adding them in double precision is
exact as long as a bin holds less than 2**29 (5e8) events. The cross-section is
multiplied in once, at the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from agc.compiled import compiled
from agc.hists.build import BIN_HIGH, BIN_LOW, N_BINS
from agc.hists.fill import USUAL_EXPONENT, WEIGHT_STEPS

if TYPE_CHECKING:
    from agc.inputs.columns import FloatArray

__all__ = ["add_event", "bin_of", "to_weight_step"]

#: Outside of this range, weights are rounded to 24 binary digits of their own.
_LEAST_USUAL, _MOST_USUAL = 2.0 ** -(USUAL_EXPONENT + 1), 2.0**USUAL_EXPONENT


@compiled
def to_weight_step(weight: float) -> float:
    """Round a weight as `agc.hists.fill.in_steps` does: to a multiple of 2**-24."""
    if weight == 0.0 or _LEAST_USUAL <= abs(weight) < _MOST_USUAL:
        return math.floor(weight * WEIGHT_STEPS + 0.5) / WEIGHT_STEPS
    mantissa, exponent = math.frexp(weight)
    return math.ldexp(
        math.floor(mantissa * WEIGHT_STEPS + 0.5) / WEIGHT_STEPS, exponent
    )


@compiled
def bin_of(value: float) -> int:
    """Return the bin of an observable: 0 is underflow, the last one overflow and NaN.

    The arithmetic is boost-histogram's, so that a value at an edge goes where
    ``hist.Hist.fill`` puts it.
    """
    z = (value - BIN_LOW) / (BIN_HIGH - BIN_LOW)
    if z < 1.0:
        return 1 + int(z * N_BINS) if z >= 0.0 else 0
    return N_BINS + 1


@compiled
def add_event(
    sums: FloatArray, region: int, variation: int, observable: float, weight: float
) -> None:
    """Add one event to the sums of weights and of squared weights."""
    i = bin_of(observable)
    sums[region, variation, i, 0] += weight
    sums[region, variation, i, 1] += to_weight_step(weight * weight)
