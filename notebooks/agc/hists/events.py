"""What a processor says of its events: sample, weights by variation, cut flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agc.inputs.config import NOMINAL

if TYPE_CHECKING:
    import awkward as ak
    from numpy.typing import NDArray

    from agc.inputs.config import Config

__all__ = ["add_factors", "by_variation", "passed", "sample_of"]


def sample_of(events: ak.Array) -> tuple[str, str]:
    """Return process and variation of the events' dataset."""
    metadata = events.metadata
    return metadata["process"], metadata.get("variation", NOMINAL)


def add_factors(
    weights: Any,  # noqa: ANN401 - coffea's Weights
    events: ak.Array,
    config: Config,
    process: str,
) -> None:
    """Add what `Config.add_systematic` was told to compute for a process."""
    ones = np.ones(len(events))
    for systematic in config.acting(process):
        if systematic.factors:
            name = systematic.up.removesuffix("_up")
            weights.add(name, ones, *(ones * f(events) for f in systematic.factors))


def by_variation(
    weights: Any,  # noqa: ANN401 - coffea's Weights
    shift: str,
    labels: tuple[str, ...],
) -> dict[str, NDArray[np.float64]]:
    """Return the weights that the events of a kinematic variation are filled with.

    With the nominal jets these are the nominal weights and those of every weight
    variation among the labels; with other jets, the nominal weights.
    """
    found = {shift: weights.weight()}
    if shift == NOMINAL:
        for label in labels:
            name, _, way = label.rpartition("_")
            if f"{name}{way.capitalize()}" in weights.variations:
                found[label] = weights.weight(f"{name}{way.capitalize()}")
    return found


def passed(cuts: Any, *names: str) -> dict[str, int]:  # noqa: ANN401 - coffea's PackedSelection
    """Return how many events pass each cut and those before it: coffea's cut flow."""
    flow = cuts.cutflow(*names).result()
    return {name: int(n) for name, n in zip(names, flow.nevcutflow[1:], strict=True)}
