"""Does the ttbar fit's uncertainty say how far independent pseudo-data scatter?

A replica's pseudo-data are drawn with replacement from the stand-in's, event by event,
and what was measured of the systematic uncertainties elsewhere is drawn from their
constraints; the templates' own events stay. The pull is (replica - stand-in) /
uncertainty. A bootstrap adds its fluctuation to the one that is there, so that p is
smaller than for data that were measured once.
"""

from __future__ import annotations

import sys
from typing import Any

import awkward as ak
import cabinetry
import numpy as np
from coffea.processor import IterativeExecutor

from agc.fast.columns import BRANCHES, read_columns
from agc.fast.engine import CompiledTtbar
from agc.inputs.filesets import standin_fileset
from agc.inputs.pieces import Piece, read_piece
from agc.model.fit import Fit, FitError, fit_model, fit_workspace
from agc.model.pseudodata import pseudodata
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from agc.ttbar.config import ttbar_config
from agc.ttbar.runs import run_ttbar

REPLICAS = 40
SEED = 172


def workspace_of(histograms: dict[str, Any]) -> dict[str, Any]:
    config = ttbar_config()
    templates = fit_templates(histograms, config)
    return build_workspace(templates, pseudodata(templates), config)


def refitted(histograms: dict[str, Any], rng: np.random.Generator) -> Fit:
    model, data = cabinetry.model_utils.model_and_data(workspace_of(histograms))
    place = model.config.nmaindata
    for name in model.config.auxdata_order:
        parameters = model.config.param_set(name)
        if not name.startswith("staterror"):
            data[place] += rng.normal()
        place += parameters.n_parameters
    return fit_model(model, data)


def main() -> int:
    config, rng = ttbar_config(), np.random.default_rng(SEED)
    result = run_ttbar(standin_fileset(), IterativeExecutor(status=False))
    central = fit_workspace(workspace_of(result.histograms))
    kernel = CompiledTtbar(config)
    parts = {}
    for name in ("ME_var", "PS_var"):
        (file,) = standin_fileset()[f"ttbar__{name}"]["files"]
        piece = Piece(name, (config.data, name), file, "Events", half=0)
        parts[name] = piece.sample, read_piece(piece, BRANCHES, None)[0]
    pulls, chances, failed = [], [], 0
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else REPLICAS):
        for name, (sample, arrays) in parts.items():
            n = len(arrays["event"])
            drawn = np.repeat(np.arange(n), rng.poisson(1.0, n))
            columns = read_columns(
                {branch: ak.Array(array)[drawn] for branch, array in arrays.items()}
            )
            filled = kernel.output_of(sample, columns)["histograms"]
            weight = result.weights[f"{config.data}__{name}"]
            for region, one in filled.items():
                axes = result.histograms[region].axes
                place = tuple(
                    axes[axis].index(key)
                    for axis, key in (("process", config.data), ("variation", name))
                )
                view: Any = result.histograms[region].view(flow=True)
                new: Any = one.view(flow=True)
                view["value"][:, *place] = new["value"][:, 0] * weight
                view["variance"][:, *place] = new["variance"][:, 0] * weight**2
        try:
            again = refitted(result.histograms, rng)
        except FitError:
            failed += 1
            continue
        pulls.append((again.poi.value - central.poi.value) / again.poi.uncertainty)
        chances.append(again.results.goodness_of_fit)
    width, piled_up = np.std(pulls, ddof=1), np.mean(np.array(chances) > 0.95)
    print(
        f"ttbar_norm {central.poi.value:.3f} ± {central.poi.uncertainty:.3f}, "
        f"p = {central.results.goodness_of_fit:.2f}; {len(pulls)} replicas, {failed} "
        f"failed: pull mean {np.mean(pulls):+.2f}, width {width:.2f} (0.7 to 1.3), "
        f"median p {np.median(chances):.2f}, above 0.95 in {piled_up:.0%}"
    )
    good = not failed and 0.7 < width < 1.3 and np.median(chances) < 0.95
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
