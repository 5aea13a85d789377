"""Counter-based random numbers: the same jet gets the same number, always.

The jet-resolution variation needs one normal random number for each jet. A generator
with a state would make it depend on how a file is cut into chunks and on which worker
came first; here the number is a pure function of run, luminosity block, event and the
jet's position in the event.

Notes
-----
Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC11 (2011), doi:10.1145/2063384.2063405, with that paper's constants. The
test compares it with the known answers that its authors publish (Random123 1.14.0,
``kat_vectors``).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from agc.compiled import compiled

if TYPE_CHECKING:
    import awkward as ak

    from agc.inputs.columns import IntArray

#: A whole number that fits into 64 bits.
Word: TypeAlias = int | np.uint64

__all__ = ["LARGEST_NORMAL", "jet_numbers", "philox4x32", "standard_normal"]

#: No number of `standard_normal` is larger: its uniform number is at least 2**-53.
LARGEST_NORMAL = math.sqrt(2.0 * 53.0 * math.log(2.0))

# Multipliers and Weyl increments of Philox4x32 (Salmon et al. 2011, table 2).
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_MASK = np.uint64(0xFFFFFFFF)
_ROUNDS = 10

#: Second key word: separates this use from any other that may come.
_JET_RESOLUTION_STREAM = 0x4A4552  # "JER"


@compiled
def philox4x32(  # noqa: PLR0917 - a counter and a key are six words
    c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return four random 32-bit words for a 128-bit counter and a 64-bit key.

    The words of the counter, of the key and of the uniform result are below 2**32.
    """
    x0, x1 = np.uint64(c0), np.uint64(c1)
    x2, x3 = np.uint64(c2), np.uint64(c3)
    key0, key1 = np.uint64(k0), np.uint64(k1)
    shift = np.uint64(32)
    for _ in range(_ROUNDS):
        product0, product1 = _M0 * x0, _M1 * x2
        x0, x1, x2, x3 = (
            (product1 >> shift) ^ x1 ^ key0,
            product1 & _MASK,
            (product0 >> shift) ^ x3 ^ key1,
            product0 & _MASK,
        )
        key0, key1 = (key0 + _W0) & _MASK, (key1 + _W1) & _MASK
    return x0, x1, x2, x3


@compiled
def standard_normal(run: Word, lumi: Word, event: Word, jet: Word) -> float:
    """Return the standard normal random number that belongs to one jet.

    Run and luminosity block have 32 bits, the event number 64; ``jet`` is the position
    in its event, before any selection. Mean 0, width 1 (Box and Muller 1958).
    """
    number = np.uint64(event)
    low, high = number & _MASK, number >> np.uint64(32)
    w0, w1, w2, w3 = philox4x32(jet, low, high, lumi, run, _JET_RESOLUTION_STREAM)
    # 53 random bits each; the first in (0, 1], where the logarithm is finite
    scale = 2.0**-53
    u = (float(w0 >> np.uint64(5)) * 67108864.0 + float(w1 >> np.uint64(6)) + 1) * scale
    v = (float(w2 >> np.uint64(5)) * 67108864.0 + float(w3 >> np.uint64(6))) * scale
    return math.sqrt(-2.0 * math.log(u)) * math.cos(2.0 * math.pi * v)


@compiled
def _numbers(
    run: IntArray, lumi: IntArray, event: IntArray, offsets: IntArray
) -> npt.NDArray[np.float64]:
    """Return the random number of each jet of some events."""
    numbers = np.empty(offsets[-1] - offsets[0])
    for e in range(len(run)):
        first = offsets[e]
        for i in range(first, offsets[e + 1]):
            number = standard_normal(run[e], lumi[e], event[e], i - first)
            numbers[i - offsets[0]] = number
    return numbers


def jet_numbers(events: ak.Array) -> ak.Array:
    """Return a standard normal number for each jet, always the same for the same jet.

    The events have all their jets: a number belongs to a jet's position in its event.
    """
    import awkward as ak

    counts = ak.to_numpy(ak.num(events.Jet, axis=1))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)])
    run, lumi = (
        np.asarray(ak.to_numpy(events[name]), np.uint32)
        for name in ("run", "luminosityBlock")
    )
    event = np.asarray(ak.to_numpy(events.event), np.uint64)
    return ak.unflatten(_numbers(run, lumi, event, offsets), counts)
