"""The AGC's published histograms: what they prove without any input file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hist
import numpy as np
import pytest

from agc.hists.build import REGIONS
from agc.hists.fill import dataset_histograms, fill
from agc.hists.run import collected
from agc.hists.spectra import contents, spectrum
from agc.inputs.config import Config
from agc.inputs.samples import PROCESSES, SAMPLES, Sample
from agc.inputs.variations import NOMINAL, SCALE_VAR, variations_of
from agc.model.fit import fit_workspace
from agc.model.pseudodata import pseudodata
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from agc.ttbar.config import ttbar_config

Histograms = dict[str, hist.Hist[Any]]
Published = Callable[[int], Histograms]
Weight = Callable[[Sample, int], float]

#: ttbar_norm of a refit with cabinetry 0.5.2 and pyhf 0.7.0.
REFIT = {1: (0.9603, 0.1121), 5: (0.9535, 0.0993)}


#: What the AGC's N=1 histograms sum up to at 3378 /pb (4j1b, 4j2b; flow included).
PUBLISHED_SUMS = {
    "ttbar__nominal": (23450.734, 52868.999),
    "ttbar__scaledown": (22679.962, 48118.376),
    "ttbar__scaleup": (23584.019, 54889.914),
    "ttbar__ME_var": (30259.654, 62323.657),
    "ttbar__PS_var": (26004.419, 50486.581),
    "single_top_s_chan__nominal": (8.170, 18.982),
    "single_top_t_chan__nominal": (533.627, 995.925),
    "single_top_tW__nominal": (1784.232, 2367.893),
    "wjets__nominal": (6073.103, 2010.407),
}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_our_normalisation_turns_events_into_the_published_sums(
    yields: dict[str, tuple[int, int, int]], sample: Sample
) -> None:
    """Needs no file: the AGC's whole events, normalised, are what it published."""
    *selected, n_events = yields[sample.name]
    config = ttbar_config()
    counts = dataset_histograms(config, sample.process, sample.variation)
    for histogram, events in zip(counts.values(), selected, strict=True):
        values = np.full(events, 200.0)
        fill(histogram, values, {sample.variation: np.ones(events)})
    metadata = {"process": sample.process, "variation": sample.variation}
    metadata |= {"xsec_pb": sample.xsec_pb, "nevts": n_events}
    fileset = {sample.name: {"files": {}, "metadata": metadata}}
    output = {sample.name: {"histograms": counts}}
    scaled = collected(output, fileset, config).histograms
    for histogram, events, expected in zip(
        scaled.values(), selected, PUBLISHED_SUMS[sample.name], strict=True
    ):
        total = histogram.sum(flow=True)
        assert total.value == pytest.approx(expected, abs=0.001)
        assert total.variance == pytest.approx(expected**2 / events, rel=1e-4)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_yields_of_one_file_are_whole_events(
    published: Published,
    published_weight: Weight,
    yields: dict[str, tuple[int, int, int]],
    sample: Sample,
) -> None:
    histograms = published(1)
    for region, expected in zip(REGIONS, yields[sample.name][:2], strict=True):
        values = contents(
            spectrum(histograms[region.name], sample.process, sample.variation),
            flow=True,
        )
        events = values / published_weight(sample, 1)
        np.testing.assert_allclose(events, np.round(events), atol=1e-6)
        assert round(events.sum()) == expected


@pytest.mark.parametrize("n_files", [1, 5])
def test_every_bin_without_a_weight_variation_is_a_whole_number_of_events(
    published: Published, published_weight: Weight, n_files: int
) -> None:
    histograms = published(n_files)
    for sample in SAMPLES:
        for variation in variations_of(sample.process, sample.variation):
            if variation.startswith(("btag_var", "scale_var")):
                continue
            for histogram in histograms.values():
                values = contents(
                    spectrum(histogram, sample.process, variation), flow=True
                )
                events = values / published_weight(sample, n_files)
                np.testing.assert_allclose(events, np.round(events), atol=1e-6)


@pytest.mark.parametrize("n_files", [1, 5])
def test_our_pseudodata_are_the_published_ones(
    published: Published,
    published_json: Callable[[int], dict[str, Any]],
    n_files: int,
) -> None:
    for region, made in pseudodata(published(n_files)).items():
        expected = published_json(n_files)[f"{region}_pseudodata"]["contents"]
        np.testing.assert_allclose(contents(made, flow=True), expected, rtol=1e-12)


@pytest.mark.parametrize("n_files", [1, 5])
@pytest.mark.parametrize("process", PROCESSES)
def test_btag_variations_are_symmetric_around_nominal(
    published: Published, n_files: int, process: str
) -> None:
    for histogram in published(n_files).values():
        nominal = contents(spectrum(histogram, process, NOMINAL), flow=True)
        for i in range(4):
            up, down = (
                contents(
                    spectrum(histogram, process, f"btag_var_{i}_{side}"), flow=True
                )
                for side in ("up", "down")
            )
            np.testing.assert_allclose(up + down, 2 * nominal, rtol=1e-6)


@pytest.mark.parametrize("n_files", [1, 5])
def test_the_scale_variation_changes_the_wjets_yield_alone(
    published: Published, n_files: int
) -> None:
    for histogram in published(n_files).values():
        nominal = contents(spectrum(histogram, "wjets", NOMINAL), flow=True)
        for side, sign in (("up", 1), ("down", -1)):
            varied = contents(
                spectrum(histogram, "wjets", f"scale_var_{side}"), flow=True
            )
            np.testing.assert_allclose(varied, (1 + sign * SCALE_VAR) * nominal)


@pytest.mark.parametrize("n_files", [1, 5])
def test_our_fit_gives_the_agcs_cross_section(
    published: Published, n_files: int, config: Config
) -> None:
    templates = fit_templates(published(n_files), config)
    workspace = build_workspace(templates, pseudodata(templates), config)
    fitted = fit_workspace(workspace, minos=True)
    norm, (value, uncertainty) = fitted.poi, REFIT[n_files]
    print(  # noqa: T201 - the figures are what one runs this test to see
        f"N={n_files}: ttbar_norm {norm.value:.4f} ± {norm.uncertainty:.4f} "
        f"(scan -{norm.down:.4f} +{norm.up:.4f}), refit {value} ± {uncertainty}"
    )
    assert norm.value == pytest.approx(value, abs=0.01)
    # The refit's uncertainty was taken with Minuit's default tolerance.
    assert norm.uncertainty == pytest.approx(uncertainty, abs=0.01)
    assert (norm.down + norm.up) / 2 == pytest.approx(uncertainty, abs=0.01)
