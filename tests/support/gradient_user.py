"""How well agc-differentiable.ipynb's analysis agrees with the ordinary one; in JSON.

Run as a program, in the notebooks' folder, by the Python of the environment with JAX.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cabinetry.model_utils import model_and_data
from coffea.processor import IterativeExecutor, ProcessorABC

from agc.hists.io import load_histograms
from agc.inputs.filesets import standin_fileset
from agc.model.fit import fit_workspace
from agc.model.pseudodata import pseudodata
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from agc.ttbar import differentiable as dif
from agc.ttbar.runs import run_ttbar
from support.notebook import analysis_code, run_code

HARD = 1e-9
#: The step of differences, in the free numbers of a choice.
STEP = 1e-4


def differences(filled: Any, templates: Any, config: Any) -> dict[str, float]:
    """Return how far hard limit and histograms are apart, relative, in any bin."""
    found = {"contents": 0.0, "variances": 0.0, "bins": 0.0}
    for region, template in templates.items():
        for p, process in enumerate([*config.processes, config.data]):
            for v, variation in enumerate(config.variations):
                one = template[:, process, variation]
                found["bins"] += np.count_nonzero(one.values())
                for i, name in enumerate(("contents", "variances")):
                    there = (one.values(), one.variances())[i]
                    difference = abs(filled[region][i, p, v] - there)
                    largest = float((difference / np.maximum(there, 1)).max())
                    found[name] = max(found[name], largest)
    return found


def likelihoods(model: Any, workspace: Any, config: Any) -> list[float]:
    """Return by how much JAX's likelihood and pyhf's differ at ten points, relative."""
    ordinary, data = model_and_data(workspace)
    systematics = [one.label for one in config.systematics]
    bins = [
        f"staterror_{channel['name']}[{i}]"
        for channel in workspace["channels"]
        for i in range(len(channel["samples"][0]["data"]))
    ]
    names = [config.poi, *systematics, *bins]
    places = [names.index(name) for name in ordinary.config.par_names]
    spread = [0.2] + [1.0] * len(systematics) + [0.03] * len(bins)
    random, found = np.random.default_rng(5), []
    for _ in range(10):
        point = np.asarray(dif.start_of(model)) + spread * random.normal(
            size=len(names)
        )
        expected = float(ordinary.logpdf(point[places], data)[0])
        own = float(dif.log_likelihood(model, point, model.data))
        found.append(abs(own / expected - 1))
    return found


def slopes(events: dif.Events, config: Any, numbers: Any) -> list[list[float]]:
    """Return derivatives by JAX and by differences: threshold, some bins' widths."""

    def sigma(numbers: Any) -> Any:
        choice = dif.choice_of(numbers, config, 0.03, 5.0)
        filled = dif.soft_histograms(choice, events, config)
        spectra = {region: one[0] for region, one in filled.items()}
        return dif.uncertainty(dif.model_of(spectra, config))

    objective = jax.jit(jax.value_and_grad(sigma))
    gradient, found = objective(numbers)[1], []
    for name, at in (("threshold", ()), ("4j1b", (0,)), ("4j1b", (6,)), ("4j2b", (3,))):
        moved = (
            numbers | {name: numbers[name].at[at].add(way)} for way in (STEP, -STEP)
        )
        up, down = (float(objective(one)[0]) for one in moved)
        found.append([float(gradient[name][at]), (up - down) / (2 * STEP)])
    return found


class Broken(ProcessorABC):  # type: ignore[misc] # coffea has no types
    """Somebody's first attempt."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def process(self, events: Any) -> Any:
        raise ZeroDivisionError(len(events))

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


def failure(config: Any) -> str:
    """Return what an analysis' own error becomes, where there is no Parsl."""
    fileset = {"ttbar__nominal": standin_fileset()["ttbar__nominal"]}
    try:
        run_ttbar(fileset, IterativeExecutor(), engine=Broken(config))
    except (ArithmeticError, ImportError) as err:
        return type(err).__name__
    return "nothing"


def main() -> None:
    """Do all of it."""
    defined = run_code(analysis_code("agc-differentiable"))
    config = defined["config"]
    engine = defined["EventColumns"](config)
    executor = IterativeExecutor(status=False)
    columns = run_ttbar(standin_fileset(), executor, engine=engine)
    templates = fit_templates(load_histograms(Path("inputs/reference.json")), config)
    workspace = build_workspace(templates, pseudodata(templates), config)

    numbers = {name: jnp.zeros(11) for name in templates} | {"threshold": jnp.zeros(())}
    hard = dif.choice_of(numbers, config, HARD, HARD)
    everything = dif.events_of(columns, config)
    filled = dif.soft_histograms(hard, everything, config)
    spectra = {region: one[0] for region, one in filled.items()}
    model = dif.model_of(spectra, config)
    best = jax.jit(dif.best_fit)(model)
    sigma = jax.jit(dif.covariance)(model, best, model.data)[0, 0] ** 0.5
    poi = fit_workspace(workspace).poi
    start = dif.start_of(model)
    asimov = dif.covariance(model, start, dif.expected(model, start))[0, 0] ** 0.5
    half = dif.events_of(columns, config, half=0)
    said = {
        "failure": failure(config),
        "hard": differences(spectra, templates, config),
        "likelihood": likelihoods(model, workspace, config),
        "fit": {"jax": [float(best[0]), float(sigma)], "pyhf": poi[:2]},
        "fisher": [float(dif.uncertainty(model)), float(asimov)],
        "slopes": slopes(half, config, numbers),
    }
    print(json.dumps(said))  # noqa: T201 - the program's answer


if __name__ == "__main__":
    main()
