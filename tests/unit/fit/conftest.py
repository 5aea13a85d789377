"""Histograms to fit: synthetic ones, and those that the AGC publishes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest

from agc.inputs.config import Config
from agc.inputs.samples import LUMI_PB, SAMPLES, Sample
from agc.inputs.variations import variations_of
from agc.model.fit import Fit, fit_workspace
from agc.model.pseudodata import pseudodata
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from agc.ttbar.config import ttbar_config
from support.histograms import empty_histograms

Histograms = dict[str, hist.Hist[Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pyhf 0.7.6 and hepdata_validator 0.3.6 use what jsonschema 4.18 deprecated. The
    # filter may go with releases of them that use `referencing`.
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(
                pytest.mark.filterwarnings(
                    r"ignore:jsonschema\.\S+ is deprecated:DeprecationWarning"
                )
            )


#: Unweighted selected events (4j1b, 4j2b; flow included) and generated events of the
#: AGC's N=1 inputs, as its published histograms and its catalog have them.
YIELDS = {
    "ttbar__nominal": (12_693, 28_616, 1_334_428),
    "ttbar__scaledown": (11_667, 24_753, 1_268_248),
    "ttbar__scaleup": (12_232, 28_469, 1_278_695),
    "ttbar__ME_var": (16_653, 34_299, 1_356_800),
    "ttbar__PS_var": (13_820, 26_831, 1_310_232),
    "single_top_s_chan__nominal": (464, 1_078, 632_000),
    "single_top_t_chan__nominal": (793, 1_480, 1_178_640),
    "single_top_tW__nominal": (5_903, 7_834, 847_600),
    "wjets__nominal": (145, 48, 1_249_076),
}
#: Relative slopes over the observable that make each variation's shape its own.
SLOPES = {"ME_var": 0.3, "PS_var": -0.25, "scaleup": 0.05, "scaledown": -0.05}


def weight(sample: Sample, n_events: int) -> float:
    return sample.xsec_pb * LUMI_PB / n_events


def shape(region: str, centres: np.ndarray, stretch: float = 1.0) -> np.ndarray:
    """A peak with a tail, at 260 GeV (H_T) or at the top quark's mass."""
    peak, width = {"4j1b": (260.0, 0.35), "4j2b": (172.5, 0.3)}[region]
    return np.exp(-0.5 * (np.log(centres / (peak * stretch)) / width) ** 2) + 0.02


@pytest.fixture(scope="session")
def yields() -> dict[str, tuple[int, int, int]]:
    return YIELDS


@pytest.fixture(scope="session")
def smooth_histograms() -> Histograms:
    """Smooth shapes with the yields of the AGC's N=1 inputs, all variations filled."""
    histograms = empty_histograms()
    for sample in SAMPLES:
        *selected, n_events = YIELDS[sample.name]
        w = weight(sample, n_events)
        for (region, histogram), n in zip(histograms.items(), selected, strict=True):
            centres = histogram.axes["observable"].centers
            position = (centres - 300) / 250
            for variation in variations_of(sample.process, sample.variation):
                stretch = {"pt_scale_up": 1.02, "pt_res_up": 1.002}.get(variation, 1)
                counts = shape(region, centres, stretch)
                counts *= 1 + SLOPES.get(variation, 0.0) * position
                counts *= n / counts.sum()
                factor = np.ones_like(centres)
                if variation.startswith("btag_var"):
                    _, _, i, direction = variation.split("_")
                    sign = 1 if direction == "up" else -1
                    factor += sign * (0.15 + 0.08 * position) / (1 + int(i))
                elif variation.startswith("scale_var"):
                    factor += 0.025 if variation.endswith("up") else -0.025
                inner = np.stack([counts * w * factor, counts * (w * factor) ** 2], -1)
                flow = np.zeros((len(centres) + 2, 2))
                flow[1:-1] = inner
                histogram[:, hist.loc(sample.process), hist.loc(variation)] = flow
    return histograms


@pytest.fixture(scope="session")
def config() -> Config:
    return ttbar_config()


@pytest.fixture(scope="session")
def templates(smooth_histograms: Histograms, config: Config) -> Histograms:
    return fit_templates(smooth_histograms, config)


@pytest.fixture(scope="session")
def data(templates: Histograms) -> Histograms:
    return pseudodata(templates)


@pytest.fixture(scope="session")
def workspace(
    templates: Histograms, data: Histograms, config: Config
) -> dict[str, Any]:
    return build_workspace(templates, data, config)


@pytest.fixture(scope="session")
def fit(workspace: dict[str, Any]) -> Fit:
    return fit_workspace(workspace, minos=True)


@pytest.fixture(scope="session")
def published_json(shared_data: Path) -> Callable[[int], dict[str, Any]]:
    def read(n_files: int) -> dict[str, Any]:
        name = f"histos_{n_files}_file_per_process.json"
        content: dict[str, Any] = json.loads(
            (shared_data / "agc-upstream" / name).read_text()
        )
        return content

    return read


@pytest.fixture(scope="session")
def published_weight(shared_data: Path) -> Callable[[Sample, int], float]:
    """The weight of a sample's events when its first N files are read."""
    catalog = json.loads(
        (shared_data / "agc-upstream" / "nanoaod_inputs.json").read_text()
    )

    def of(sample: Sample, n_files: int) -> float:
        files = catalog[sample.process][sample.variation]["files"][:n_files]
        return weight(sample, sum(file["nevts"] for file in files))

    return of


@pytest.fixture(scope="session")
def published(
    published_json: Callable[[int], dict[str, Any]],
    published_weight: Callable[[Sample, int], float],
) -> Callable[[int], Histograms]:
    """The AGC's histograms with variances of content times weight."""

    def read(n_files: int) -> Histograms:
        content = published_json(n_files)
        histograms = empty_histograms()
        for sample in SAMPLES:
            w = published_weight(sample, n_files)
            for region, histogram in histograms.items():
                for variation in variations_of(sample.process, sample.variation):
                    suffix = "" if variation == "nominal" else f"_{variation}"
                    values = content[f"{region}_{sample.process}{suffix}"]["contents"]
                    histogram[:, hist.loc(sample.process), hist.loc(variation)] = (
                        np.stack([values, np.multiply(values, w)], axis=-1)
                    )
        return histograms

    return read
