"""The events that some variation could select: all that a second pass needs.

An event is kept where the kernel would look at its jets one by one: exactly one
selected lepton, and at least four jets, one of them b-tagged, that pass the
identification and whose pt would pass if it grew as much as a variation can make it
grow (so pt > 21 GeV). The functions that decide are the kernel's own, so what is left
out adds nothing to any histogram, whatever its binning. An event is kept as a whole:
the random number of a jet depends on its place among all jets of the event.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from agc.compiled import compiled
from agc.fast.columns import Electrons, Events, Jets, Muons
from agc.fast.kernel import find_candidates, has_one_lepton, make_buffer
from agc.fast.selection import MIN_JETS
from agc.inputs.columns import IntArray
from agc.inputs.variations import PT_RES_SIGMA, PT_SCALE_UP
from agc.ttbar.smearing import LARGEST_NORMAL

__all__ = ["preselected", "taken"]

_Objects = TypeVar("_Objects", Electrons, Muons, Jets)

#: The largest factor that a variation puts on a jet's pt.
REACH = max(PT_SCALE_UP, 1.0 + PT_RES_SIGMA * LARGEST_NORMAL)


@compiled
def preselected(events: Events) -> IntArray:
    """Return the positions of the events that some variation could select.

    They ascend; shape (preselected events,), int64.
    """
    offsets = events.jets.offsets
    buffer = make_buffer(events)
    chosen = np.empty(len(offsets) - 1, np.int64)
    n = 0
    for e in range(len(offsets) - 1):
        if (
            offsets[e + 1] - offsets[e] >= MIN_JETS
            and has_one_lepton(events, e)
            and find_candidates(events, e, REACH, buffer) > 0
        ):
            chosen[n] = e
            n += 1
    return chosen[:n].copy()


def taken(events: Events, chosen: IntArray) -> Events:
    """Return the events at some positions of a chunk, in their order and complete."""
    return Events(
        _objects_taken(events.electrons, chosen),
        _objects_taken(events.muons, chosen),
        _objects_taken(events.jets, chosen),
        events.run[chosen],
        events.luminosity_block[chosen],
        events.event[chosen],
    )


def _objects_taken(objects: _Objects, chosen: IntArray) -> _Objects:
    """Return the objects of some events, with offsets that start at 0."""
    starts = objects.offsets[chosen]
    counts = objects.offsets[chosen + 1] - starts
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
    places = np.repeat(starts - offsets[:-1], counts) + np.arange(offsets[-1])
    columns = dict(zip(objects._fields[1:], objects[1:], strict=True))
    return objects._replace(
        offsets=offsets, **{name: column[places] for name, column in columns.items()}
    )
