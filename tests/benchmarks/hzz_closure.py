"""Does the HZZ fit give back the signal that was put in, whatever is under it?

A toy is a whole experiment: its control regions are drawn, the reducible background is
estimated from them, and the signal region is drawn with a background whose shape is
another one: each variation of the shape is added with a random size of its own. The
pull of a toy is (fitted - injected) / uncertainty. Where the fit is unbiased and its
uncertainty right, pulls have mean 0 and width 1.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import numpy as np

from agc.hists.spectra import contents, spectrum
from agc.hzz.files import hzz_inputs
from agc.hzz.processor import REGIONS, HzzResult
from agc.hzz.reducible import (
    CONTROLS,
    Reducible,
    add_reducible,
    estimate_reducible,
    with_reducible,
)
from agc.hzz.samples import DATA, REGION, hzz_config
from agc.inputs.config import NOMINAL
from agc.model.fit import Fit, FitError, fit_workspace
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from support.hzz import run_shown

TOYS = 200
INJECTED = 2.0
SEED = 125
#: Tolerances of the mean, nearly three times 1 / sqrt(200), and of the width.
MEAN_TOLERANCE, WIDTH_TOLERANCE = 0.2, 0.2


class Closure(NamedTuple):
    """What the toys say."""

    pulls: np.ndarray
    failed: int


def closure(toys: int = TOYS, injected: float = INJECTED, seed: int = SEED) -> Closure:
    """Draw toys, estimate their background, fit them and return their pulls."""
    rng, result = np.random.default_rng(seed), run_shown(hzz_inputs("standin").fileset)
    truth = estimate_reducible(result.regions)
    # The control regions that the toys fluctuate about, and what is not reducible.
    counted: Any = result.regions.view(flow=True)["value"].copy()
    simulated = contents(spectrum(result.histogram, "ZZ", NOMINAL)) + (
        injected * contents(spectrum(result.histogram, "signal", NOMINAL))
    )
    pulls, failed = [], 0
    for _ in range(toys):
        draw_control_regions(result, counted, rng)
        expected = simulated + varied_shape(truth, rng)
        try:
            fit = fitted(result, rng.poisson(expected))
        except FitError:
            failed += 1
            continue
        pulls.append((fit.poi.value - injected) / fit.poi.uncertainty)
    return Closure(np.array(pulls), failed)


def draw_control_regions(
    result: HzzResult, counted: np.ndarray, rng: np.random.Generator
) -> None:
    """Replace the collisions in a run's control regions by others, bin by bin."""
    view: Any = result.regions.view(flow=True)
    data = result.regions.axes["process"].index(DATA)
    for name in CONTROLS:
        row = REGIONS.index(name)
        drawn = rng.poisson(counted[:, data, row])
        view["value"][:, data, row] = view["variance"][:, data, row] = drawn


def varied_shape(truth: Reducible, rng: np.random.Generator) -> np.ndarray:
    """Return a background with every variation of its shape, in random sizes."""
    nominal = truth.shapes[NOMINAL]
    sizes = rng.normal(size=len(truth.shapes) - 1)
    others = [shape for name, shape in truth.shapes.items() if name != NOMINAL]
    changes = [a * (b - nominal) for a, b in zip(sizes, others, strict=True)]
    shape = np.maximum(nominal + np.sum(changes, axis=0), 0)
    return np.asarray(shape * nominal.sum() / shape.sum())


def fitted(result: HzzResult, data: np.ndarray) -> Fit:
    """Fit data with the background that a run's control regions tell."""
    config, reducible = hzz_config(real_data=False), estimate_reducible(result.regions)
    add_reducible(config, reducible)
    histogram = with_reducible(result.histogram, reducible)
    templates = fit_templates({REGION: histogram}, config)
    observed = spectrum(templates[REGION], DATA, NOMINAL)
    view: Any = observed.view()
    view["value"] = view["variance"] = data
    return fit_workspace(build_workspace(templates, {REGION: observed}, config))


def main() -> int:
    found = closure(int(sys.argv[1]) if len(sys.argv) > 1 else TOYS)
    mean, width = found.pulls.mean(), found.pulls.std(ddof=1)
    print(
        f"{len(found.pulls)} toys with a signal of {INJECTED:g}, {found.failed} failed"
    )
    print(f"pull: mean {mean:+.3f} (0 ± {MEAN_TOLERANCE}), width {width:.3f} (1 ± 0.2)")
    good = abs(mean) < MEAN_TOLERANCE and abs(width - 1) < WIDTH_TOLERANCE
    return 0 if good and not found.failed else 1


if __name__ == "__main__":
    sys.exit(main())
