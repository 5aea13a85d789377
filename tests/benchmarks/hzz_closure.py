"""Does the HZZ fit give back the signal that was put in?

Toy data are drawn from the model of the stand-in with a signal of known size; the pull
of a toy is (fitted - injected) / uncertainty. Where the fit is unbiased and its
uncertainty right, pulls have mean 0 and width 1.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import cabinetry
import numpy as np
import pyhf

from agc.hists.spectra import spectrum
from agc.hzz.files import hzz_inputs
from agc.hzz.samples import DATA, REGION, hzz_config
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from support.hzz import run_shown

TOYS = 200
INJECTED = 2.0
SEED = 125
#: Tolerances of the mean, three times 1 / sqrt(200), and of the width.
MEAN_TOLERANCE, WIDTH_TOLERANCE = 0.21, 0.2


class Closure(NamedTuple):
    """What the toys say."""

    pulls: np.ndarray
    failed: int


def closure(toys: int = TOYS, injected: float = INJECTED, seed: int = SEED) -> Closure:
    """Fit toys and return their pulls."""
    config = hzz_config(real_data=False)
    fileset = hzz_inputs("standin").fileset
    result = run_shown(fileset)
    templates = fit_templates({REGION: result.histogram}, config)
    data = {REGION: spectrum(templates[REGION], DATA, "nominal")}
    workspace = build_workspace(templates, data, config)
    model, _ = cabinetry.model_utils.model_and_data(workspace)
    names = model.config.par_names
    truth = np.array(model.config.suggested_init())
    truth[names.index(config.poi)] = injected
    np.random.seed(seed)  # noqa: NPY002 - pyhf draws from numpy's global state
    drawn = np.asarray(model.make_pdf(pyhf.tensorlib.astensor(truth)).sample((toys,)))
    pulls, failed = [], 0
    for data in drawn:
        try:
            fitted = cabinetry.fit.fit(model, data.tolist())
        except pyhf.exceptions.FailedMinimization:
            failed += 1
            continue
        row = fitted.labels.index(config.poi)
        pulls.append((fitted.bestfit[row] - injected) / fitted.uncertainty[row])
    return Closure(np.array(pulls), failed)


def main() -> int:
    found = closure()
    mean, width = found.pulls.mean(), found.pulls.std(ddof=1)
    print(
        f"{len(found.pulls)} toys with a signal of {INJECTED:g}, {found.failed} failed"
    )
    print(f"pull: mean {mean:+.3f} (0 ± {MEAN_TOLERANCE}), width {width:.3f} (1 ± 0.2)")
    good = abs(mean) < MEAN_TOLERANCE and abs(width - 1) < WIDTH_TOLERANCE
    return 0 if good and not found.failed else 1


if __name__ == "__main__":
    sys.exit(main())
