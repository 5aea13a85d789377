"""The whole ttbar analysis with its jets assigned, the server there and then gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from coffea.processor import DaskExecutor, IterativeExecutor
from distributed import Client, LocalCluster

from agc.errors import AnalysisError
from agc.inputs.filesets import standin_fileset
from agc.model.fit import fit_workspace
from agc.model.pseudodata import pseudodata
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from agc.served.failures import InferenceError
from agc.served.predictor import IN_PROCESS
from agc.show.stack import plot_prediction
from agc.ttbar.config import ttbar_config
from agc.ttbar.feature_fit import FIT_FEATURES, feature_fit
from agc.ttbar.ml.jet_assignment import AssignmentModels
from agc.ttbar.ml.model_store import MODEL_NAME
from agc.ttbar.ml.scoring import assignment_here
from agc.ttbar.runs import TtbarResult, run_ttbar
from casa_env.settings import Settings, load_settings
from support.processes import kill_group
from support.triton import Triton, triton

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def in_process(jet_models: AssignmentModels) -> TtbarResult:
    return run_ttbar(
        standin_fileset(),
        IterativeExecutor(status=False),
        assignment=assignment_here(jet_models, load_settings({})),
    )


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    options = {"threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=1, **options) as site, Client(site) as client:
        yield client


def at(server: Triton, *, fallback: bool) -> Settings:
    return load_settings({}, triton_url=server.grpc, triton_fallback=fallback)


def same(one: TtbarResult, other: TtbarResult) -> bool:
    return all(
        np.array_equal(h.view(flow=True), other.features[name].view(flow=True))
        for name, h in one.features.items()
    ) and all(
        np.array_equal(h.view(flow=True), other.histograms[name].view(flow=True))
        for name, h in one.histograms.items()
    )


def test_every_event_has_one_assignment_in_the_same_pass(
    in_process: TtbarResult,
) -> None:
    plain = run_ttbar(standin_fileset(), IterativeExecutor(status=False))
    signal = plain.histograms["4j2b"][sum, "ttbar", "nominal"]
    feature = in_process.features["pt_w1"][sum, "ttbar", "nominal"]
    assert feature.value == pytest.approx(signal.value)
    for name, histogram in plain.histograms.items():
        np.testing.assert_array_equal(
            histogram.view(flow=True), in_process.histograms[name].view(flow=True)
        )


def test_a_server_killed_in_the_middle_of_a_run_changes_nothing_but_the_report(
    in_process: TtbarResult,
    client: Client,
    jet_models: AssignmentModels,
    repository_of_models: Path,
    tmp_path: Path,
) -> None:
    with triton(repository_of_models, tmp_path) as server:
        assignment = assignment_here(jet_models, at(server, fallback=True))
        killer = threading.Thread(target=kill_once_it_scores, args=[server])
        killer.start()
        result = run_ttbar(
            standin_fileset(),
            DaskExecutor(client=client, status=False),
            chunksize=2000,
            assignment=assignment,
        )
        killer.join()
    assert same(result, in_process)
    assert in_process.inference is not None
    assert result.inference is not None
    assert set(result.inference.rows) == {IN_PROCESS, "Triton 2.51.0"}
    assert result.inference.rows.total() == in_process.inference.rows.total()
    # of two models, one may be cut off and the other not be let in again
    reasons = {text.split(": ")[0] for text in result.inference.fallbacks}
    assert reasons == {"The Triton server cannot be reached"}
    assert "given up: " in str(result.inference)


def test_without_a_fallback_it_ends_with_what_happened(
    client: Client,
    jet_models: AssignmentModels,
    repository_of_models: Path,
    tmp_path: Path,
) -> None:
    with triton(repository_of_models, tmp_path) as server:
        assignment = assignment_here(jet_models, at(server, fallback=False))
        killer = threading.Thread(target=kill_once_it_scores, args=[server])
        killer.start()
        with pytest.raises(InferenceError, match="cannot be reached") as caught:
            run_ttbar(
                standin_fileset(),
                DaskExecutor(client=client, status=False, retries=0),
                chunksize=2000,
                assignment=assignment,
            )
        killer.join()
    assert caught.value.kind == "lost"
    assert "triton_fallback" in caught.value.next_step
    with pytest.raises(InferenceError) as before:  # any task, where it is down already
        assignment_here(jet_models, at(server, fallback=False))
    assert before.value.kind == "lost"


def kill_once_it_scores(server: Triton) -> None:
    """Kill a server after its first answers."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        stats = requests.get(f"{server.http}/v2/models/{MODEL_NAME}/stats", timeout=30)
        counts = [one["inference_count"] for one in stats.json()["model_stats"]]
        if sum(counts) > 0:
            break
        time.sleep(0.01)
    kill_group(server.process)


def test_skims_do_not_have_what_assigning_jets_needs(
    tmp_path: Path, jet_models: AssignmentModels
) -> None:
    with pytest.raises(AnalysisError, match="use one of the two"):
        run_ttbar(
            standin_fileset(),
            IterativeExecutor(status=False),
            skims=tmp_path,
            assignment=assignment_here(jet_models, load_settings({})),
        )


# pyhf 0.7.6 uses what jsonschema 4.18 deprecated: see tests/unit/fit.
@pytest.mark.filterwarnings(
    "ignore:jsonschema.RefResolver is deprecated:DeprecationWarning"
)
def test_the_features_get_the_main_fits_result_without_a_new_fit(
    in_process: TtbarResult,
) -> None:
    task = ttbar_config()
    templates = fit_templates(in_process.histograms, task)
    fit = fit_workspace(build_workspace(templates, pseudodata(templates), task))
    carried = feature_fit(in_process.features, fit, task)
    config = carried.postfit.model.config
    assert sorted(config.channels) == sorted(FIT_FEATURES)
    ttbar = config.samples.index("ttbar")
    channel = config.channels.index("mass_w1w2btophad")
    before, after = (
        np.sum(stage.model_yields[channel][ttbar])
        for stage in (carried.prefit, carried.postfit)
    )
    data = carried.data["mass_w1w2btophad"].sum().value
    totals = [
        np.sum(stage.model_yields[channel])
        for stage in (carried.prefit, carried.postfit)
    ]
    assert after != before
    # The main fit moves the prediction towards these data, which it has not seen.
    assert abs(totals[1] - data) < abs(totals[0] - data)
    name = "deltar_w1w2"
    figure = plot_prediction(
        carried.postfit, carried.data[name], task, name, label="Simulation"
    )
    assert figure.axes[0].get_ylabel() == "Events / 0.24"  # 25 bins from 0 to 6
    bins = {one: template.axes[0].size for one, template in carried.data.items()}
    assert set(bins.values()) == {5, 25}
    assert bins["mass_w1w2"] == bins["mass_w1w2btophad"] == 25  # they have peaks
