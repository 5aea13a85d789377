"""The reducible background, Z+jets and top pairs, from the data's own control regions.

Two of its four leptons are not prompt. Their charges and flavours are taken to be
independent of each other, so that, with O for an odd number of electrons and S for a
total charge that is not zero, signal region = O x S / (O and S): the ABCD method.
Genuine four-lepton events in the control regions are subtracted as simulated.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.errors import AnalysisError
from agc.hists.build import empty_histogram
from agc.hzz.processor import CHANNELS, FINE_BINS, in_region
from agc.hzz.samples import BINS, DATA
from agc.inputs.config import NOMINAL, Config, Process, Systematic

if TYPE_CHECKING:
    import hist
    from numpy.typing import NDArray

__all__ = [
    "CONTROLS",
    "KERNEL_GEV",
    "REDUCIBLE",
    "REDUCIBLE_NORM",
    "ControlRegionError",
    "Reducible",
    "add_reducible",
    "estimate_reducible",
    "set_free",
    "with_reducible",
]

#: The name of the process, and of the parameter that scales it.
REDUCIBLE, REDUCIBLE_NORM = "reducible", "Reducible_norm"
#: The control regions by the cut that their events fail, and what they are.
CONTROLS = {
    "flavour": "odd flavour, charge 0",
    "charge": "even flavour, charge ≠ 0",
    "both": "odd flavour, charge ≠ 0",
}
#: What is genuine in the control regions; Z+jets and top pairs are what is estimated.
_GENUINE = ("ZZ", "signal")
#: The width of the Gaussian kernel in GeV: three bins of the fit from -1 to 1 standard
#: deviation.
KERNEL_GEV = 8.0
#: Less than this fraction of the background in a bin is none: keeps templates positive
#: where simulation is subtracted.
_LEAST = 1e-6


class ControlRegionError(AnalysisError):
    """A control region is empty, so that nothing can be estimated from it."""


@dataclass(frozen=True)
class Reducible:
    """What the control regions say about the signal region, in the fit's mass range."""

    genuine: dict[str, float]
    """Simulated events with four prompt leptons in each of `CONTROLS`."""
    events: float
    """How many reducible events to expect in the signal region."""
    uncertainty: float
    """The statistical one, from all three control regions."""
    channels: dict[str, tuple[float, float]]
    """The same, with its uncertainty, by final state."""
    shapes: dict[str, NDArray[np.float64]]
    """Templates of the nominal shape, adding up to ``events``, and of varied ones."""

    @property
    def relative(self) -> float:
        """The relative statistical uncertainty."""
        return self.uncertainty / self.events


def estimate_reducible(
    regions: hist.Hist[Any], *, kernel_gev: float = KERNEL_GEV
) -> Reducible:
    """Estimate the reducible background from the data in a run's control regions.

    ``regions`` is that of `agc.hzz.processor.HzzResult`. The shape is that of all
    control events, smoothed with a Gaussian kernel. Its variations are twice the
    kernel's width, and each control region alone.

    Raises
    ------
    ControlRegionError
        Nothing is left of a control region after the subtraction.
    """
    low, high = (_fine_bin(edge) for edge in BINS[1:])
    collisions = {name: in_region(regions, (DATA,), name) for name in CONTROLS}
    prompt = {name: in_region(regions, _GENUINE, name) for name in CONTROLS}
    net, relative = {}, {}
    for name, what in CONTROLS.items():
        (values, errors), (subtracted, others) = collisions[name], prompt[name]
        net[name] = (values - subtracted)[low:high].sum(axis=0)
        total = net[name].sum()
        if total <= 0:
            msg = (
                "the reducible background cannot be estimated: of the control region "
                f"{name!r} ({what}) {total:.3g} events are left. Read all of the data, "
                "or leave it out of the model"
            )
            raise ControlRegionError(msg)
        relative[name] = (errors + others)[low:high].sum() / total**2
    charge_ratio = net["flavour"].sum() / net["both"].sum()
    events = float(net["charge"].sum() * charge_ratio)
    ratio_variance = relative["flavour"] + relative["both"]
    alone = {
        name: (collisions[name][0] - prompt[name][0]).sum(axis=1) for name in CONTROLS
    }
    everything = np.sum(list(alone.values()), axis=0)
    spectra = {
        NOMINAL: (everything, kernel_gev),
        "reducibleWide": (everything, kernel_gev * 2),
        **{_alone(name): (one, kernel_gev) for name, one in alone.items()},
    }
    shapes = {name: _smoothed(*one) * events for name, one in spectra.items()}
    return Reducible(
        {name: float(prompt[name][0][low:high].sum()) for name in CONTROLS},
        events,
        float(events * np.sqrt(relative["charge"] + ratio_variance)),
        _by_channel(regions, net["charge"], charge_ratio, ratio_variance),
        # mirrored by the fit, a variation must not leave a negative yield
        {n: np.minimum(s, 2 * shapes[NOMINAL]) for n, s in shapes.items()},
    )


def with_reducible(histogram: hist.Hist[Any], reducible: Reducible) -> hist.Hist[Any]:
    """Return a run's histogram with the background and the variations of its shape.

    Its bins have no variances: how uncertain they are is in the parameters of its size
    and shape, and would count twice.
    """
    axes = histogram.axes
    shapes = [name for name in reducible.shapes if name != NOMINAL]
    found = empty_histogram(
        BINS,
        axes["observable"].label,
        [*axes["process"], REDUCIBLE],
        [*axes["variation"], *shapes],
    )
    view: Any = found.view(flow=True)
    old: Any = histogram.view(flow=True)
    rows, columns = len(axes["process"]), len(axes["variation"])
    view[:, :rows, :columns] = old[:, :rows, :columns]
    for name in found.axes["variation"]:
        shape = reducible.shapes.get(name, reducible.shapes[NOMINAL])
        view["value"][1:-1, rows, found.axes["variation"].index(name)] = shape
    return found


def add_reducible(config: Config, reducible: Reducible) -> None:
    """Put the background into an analysis, in the place of its simulation.

    Its size is a parameter with the statistical uncertainty of the estimate; four more
    are for its shape, which the fit mirrors: variations to both sides that are not
    alike make a likelihood with kinks, where Minuit loses its way.
    """
    replaced = config.processes.pop("Z_tt")
    label = "Reducible (control regions)"
    config.processes[REDUCIBLE] = Process(label, replaced.colour)
    only = (REDUCIBLE,)
    config.systematics += [
        Systematic(REDUCIBLE_NORM, "norm", only, size=reducible.relative),
        Systematic("Reducible_kernel", "weight", only, "reducibleWide"),
        *(
            Systematic(f"Reducible_{name}_alone", "weight", only, _alone(name))
            for name in CONTROLS
        ),
    ]


def set_free(workspace: dict[str, Any]) -> dict[str, Any]:
    """Return a workspace in which the signal region alone fixes the background's size.

    Its parameter, the size in units of the estimate, starts at 1 and has no constraint.
    """
    free = copy.deepcopy(workspace)
    for channel in free["channels"]:
        for sample in channel["samples"]:
            for modifier in sample["modifiers"]:
                if modifier["name"] == REDUCIBLE_NORM:
                    modifier |= {"type": "normfactor", "data": None}
    free["measurements"][0]["config"]["parameters"].append(
        {"name": REDUCIBLE_NORM, "inits": [1.0], "bounds": [[0.0, 10.0]]}
    )
    return free


def _alone(region: str) -> str:
    return f"reducible{region.capitalize()}Alone"


def _fine_bin(edge: float) -> int:
    n_bins, low, high = FINE_BINS
    return round((edge - low) / (high - low) * n_bins)


def _by_channel(
    regions: hist.Hist[Any],
    net: NDArray[np.float64],
    ratio: float,
    ratio_variance: float,
) -> dict[str, tuple[float, float]]:
    """Return the estimates and uncertainties of each final state.

    ``net`` are the events of even flavour with a charge, by the axis ``channel``.
    """
    found = {}
    for kind, name in CHANNELS.items():
        events = float(net[regions.axes["channel"].index(kind)])
        # net of the subtraction, which is below one event
        variance = max(events, 1.0) + events**2 * ratio_variance
        found[name] = events * float(ratio), float(ratio * np.sqrt(variance))
    return found


def _smoothed(events: NDArray[np.float64], kernel_gev: float) -> NDArray[np.float64]:
    """Return the shape in the fit's bins, adding up to one, of events in fine bins."""
    from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped]  # has none

    n_bins, low, high = FINE_BINS
    smooth = gaussian_filter1d(
        events, kernel_gev * n_bins / (high - low), mode="constant"
    )
    first, last = (_fine_bin(edge) for edge in BINS[1:])
    binned = smooth[first:last].reshape(BINS[0], -1).sum(axis=1)
    binned = np.maximum(binned, _LEAST * binned.sum())
    shape: NDArray[np.float64] = binned / binned.sum()
    return shape
