"""The processor against the oracle, and its independence of how it is run."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
from coffea.nanoevents import BaseSchema, NanoAODSchema
from coffea.processor import FuturesExecutor, IterativeExecutor, Runner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agc.fast.columns import read_columns
from agc.fast.engine import CompiledTtbar
from agc.fast.exact_sums import to_weight_step
from agc.hists.build import REGIONS
from agc.hists.fill import in_steps
from agc.hists.run import collected
from agc.inputs.filesets import standin_fileset
from agc.inputs.nano import nano_events
from agc.inputs.pieces import run_tasks
from agc.inputs.samples import LUMI_PB, SAMPLES, XSEC_PB
from agc.inputs.variations import variations_of
from agc.ttbar.config import COLUMNS, ttbar_config
from agc.ttbar.runs import run_ttbar
from support.nanoaod import (
    COLLECTIONS,
    events_from,
    fileset_of,
    random_events,
    read_file,
    write_file,
)
from support.notebook import ttbar_namespace
from support.oracle import oracle_counts

if TYPE_CHECKING:
    import hist

QUIET = IterativeExecutor(status=False)


def assert_equal(
    ours: dict[str, hist.Hist[Any]], oracle: dict[str, hist.Hist[Any]]
) -> None:
    """Compare every bin, flow included; weights are rounded to 2**-24 in ours."""
    for region in REGIONS:
        got, expected = (h[region.name].view(flow=True) for h in (ours, oracle))
        for field in ("value", "variance"):
            np.testing.assert_allclose(
                got[field], expected[field], rtol=1e-6, atol=1e-6, err_msg=region.name
            )
        # what has no event weight is an integer and must be exact
        unweighted = got["value"] == np.round(got["value"])
        np.testing.assert_array_equal(
            got["value"][unweighted], expected["value"][unweighted]
        )


def assert_identical(
    one: dict[str, hist.Hist[Any]], other: dict[str, hist.Hist[Any]]
) -> None:
    for region in REGIONS:
        assert one[region.name] == other[region.name]


def flat_columns(events: ak.Array) -> ak.Array:
    return ak.zip(
        {
            f"{collection}_{field}": events[collection][field]
            for collection in COLLECTIONS
            for field in events[collection].fields
        }
        | {name: events[name] for name in ("run", "luminosityBlock", "event")},
        depth_limit=1,
    )


def counts_of(
    events: ak.Array, process: str, variation: str, engine: str
) -> dict[str, Any]:
    """Run an engine's own steps on events in memory."""
    metadata = {"dataset": "d", "process": process, "variation": variation}
    flat = flat_columns(events)
    if engine == "columnar":
        nano = nano_events(flat, COLUMNS, metadata)
        output = ttbar_namespace()["processor"].process(nano)["d"]
    else:
        kernel = CompiledTtbar(ttbar_config())
        output = kernel.output_of((process, variation), read_columns(flat))
    fileset = {"d": {"files": {}, "metadata": metadata | {"xsec_pb": 1.0}}}
    return collected({"d": output}, fileset, ttbar_config()).counts


def engine_named(name: str) -> Any:
    return ttbar_namespace()["processor"] if name == "columnar" else None


ENGINES = pytest.mark.parametrize("engine", ["columnar", "compiled"])


@ENGINES
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_the_processor_equals_the_oracle_on_the_shipped_sample(
    sample: Any, engine: str
) -> None:
    fileset = {sample.name: standin_fileset()[sample.name]}
    fileset[sample.name]["metadata"]["halved"] = False
    (path,) = fileset[sample.name]["files"]
    events = read_file(path)
    ours = run_ttbar(fileset, QUIET, engine=engine_named(engine)).counts
    oracle = oracle_counts(events, sample.process, sample.variation)
    assert_equal(ours, oracle)
    assert sum(h.sum().value for h in ours.values()) > 0


@pytest.mark.slow
@ENGINES
@pytest.mark.parametrize("chunksize", [311, 200_000])
def test_no_event_is_both_in_a_template_and_in_the_pseudo_data(
    engine: str, chunksize: int
) -> None:
    fileset = {"ttbar__PS_var": standin_fileset()["ttbar__PS_var"]}
    (path,) = fileset["ttbar__PS_var"]["files"]
    events = read_file(path)
    result = run_ttbar(fileset, QUIET, engine=engine_named(engine), chunksize=chunksize)
    (whole,) = fileset["ttbar__PS_var"]["nevts"].values()
    weight = XSEC_PB["ttbar"] * LUMI_PB / (whole / 2)
    for process, number in (("pseudodata", 0), ("ttbar", 1)):
        half = oracle_counts(events[events.event % 2 == number], "ttbar", "PS_var")
        cell = {"process": process, "variation": "PS_var"}
        for region in REGIONS:
            expected = half[region.name][{"process": "ttbar", "variation": "PS_var"}]
            assert expected.sum().value > 100
            assert result.counts[region.name][cell] == expected
            np.testing.assert_allclose(
                result.histograms[region.name][cell].values(),
                expected.values() * weight,
            )
    assert result.metrics.events == len(events)


def awkward_floats() -> st.SearchStrategy[float]:
    return st.one_of(
        st.floats(20, 600, width=32),
        st.sampled_from([30.0, 30.000002, 29.999998, 31.0, -40.0, 0.0, float("nan")]),
    )


def at_limit(limit: float) -> st.SearchStrategy[float]:
    """Choose a cut's limit as float32 holds it, or one of its neighbours."""
    exact, infinity = np.float32(limit), np.float32(np.inf)
    near = [np.nextafter(exact, -infinity), exact, np.nextafter(exact, infinity)]
    return st.sampled_from([float(x) for x in near] + [-float(exact)])


def jets() -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "pt": awkward_floats(),
            "eta": st.one_of(st.floats(-3, 3, width=32), at_limit(2.4)),
            "phi": st.floats(-3.125, 3.125, width=32),
            "mass": st.floats(0, 60, width=32),
            "btagCSVV2": st.sampled_from([0.0, 0.5, 0.5000001, 0.8, 0.8, 1.0, -10.0]),
            "jetId": st.sampled_from([0, 2, 6, 6, 6, 6]),
        }
    )


def leptons(extra: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {
            "pt": st.sampled_from([29.0, 30.0, 35.0, 80.0, float("nan"), -50.0]),
            "eta": st.one_of(st.floats(-2.5, 2.5, width=32), at_limit(2.1)),
            "sip3d": st.sampled_from([0.5, 3.9, 4.0, 7.0]),
            **extra,
        }
    )


GOOD_MUON = {
    "pt": 40.0,
    "eta": 0.3,
    "sip3d": 0.5,
    "tightId": True,
    "pfRelIso04_all": 0.01,
}

EVENTS = st.lists(
    st.fixed_dictionaries(
        {
            "run": st.integers(0, 2**32 - 1),
            "luminosityBlock": st.integers(0, 2**32 - 1),
            "event": st.integers(0, 2**64 - 1),
            "Electron": st.one_of(
                st.just([]),
                st.lists(leptons({"cutBased": st.sampled_from([2, 4])}), max_size=2),
            ),
            "Muon": st.one_of(
                st.just([GOOD_MUON]),
                st.lists(
                    leptons(
                        {
                            "tightId": st.booleans(),
                            "pfRelIso04_all": st.sampled_from([0.01, 0.14, 0.15, 0.5]),
                        }
                    ),
                    max_size=2,
                ),
            ),
            # none, one, or many jets
            "Jet": st.one_of(
                st.lists(jets(), max_size=1),
                st.lists(jets(), min_size=4, max_size=8),
                st.lists(jets(), min_size=20, max_size=20),
            ),
        }
    ),
    min_size=1,
    max_size=4,
)


@given(EVENTS, st.sampled_from(SAMPLES))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_both_engines_equal_the_oracle_on_any_events(rows: Any, sample: Any) -> None:
    events = events_from(rows)
    oracle = oracle_counts(events, sample.process, sample.variation)
    columnar, compiled = (
        counts_of(events, sample.process, sample.variation, engine)
        for engine in ("columnar", "compiled")
    )
    assert_equal(columnar, oracle)
    assert_equal(compiled, oracle)
    assert_identical(columnar, compiled)


@given(EVENTS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_events_one_by_one_give_what_they_give_together(rows: Any) -> None:
    events = events_from(rows)
    whole = counts_of(events, "wjets", "nominal", "columnar")
    for i in range(len(events)):
        one = counts_of(events[i : i + 1], "wjets", "nominal", "columnar")
        for name in whole:
            whole[name] = whole[name] + one[name] * -1.0
    for histogram in whole.values():
        assert not histogram.values(flow=True).any()


@ENGINES
def test_the_processor_equals_the_oracle_on_crowded_events(engine: str) -> None:
    events = random_events(300, max_jets=30)
    ours = counts_of(events, "wjets", "nominal", engine)
    assert_equal(ours, oracle_counts(events, "wjets"))
    assert ours["4j2b"].sum().value > 100


@pytest.mark.parametrize("process", ["ttbar", "wjets"])
def test_both_engines_are_identical_on_many_events(process: str) -> None:
    events = random_events(3000, seed=5)
    columnar, compiled = (
        counts_of(events, process, "nominal", engine)
        for engine in ("columnar", "compiled")
    )
    assert_identical(columnar, compiled)


@pytest.fixture(scope="module")
def small_fileset(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("nanoaod")
    events = random_events(60)
    files = [
        write_file(folder / f"part{i}.root", events[20 * i : 20 * (i + 1)])
        for i in range(3)
    ]
    return fileset_of({"ttbar__nominal": files, "wjets__nominal": files[:1]})


@pytest.fixture(scope="module")
def reference(small_fileset: dict[str, Any]) -> Any:
    result = run_ttbar(small_fileset, QUIET)
    assert result.counts["4j2b"].sum().value > 0
    return result


@pytest.mark.slow
@ENGINES
@pytest.mark.parametrize("chunksize", [1, 7, 1000, 200_000])
def test_the_result_does_not_depend_on_the_chunk_size(
    chunksize: int, engine: str, small_fileset: dict[str, Any], reference: Any
) -> None:
    chosen = engine_named(engine)
    result = run_ttbar(small_fileset, QUIET, chunksize=chunksize, engine=chosen)
    assert_identical(result.histograms, reference.histograms)


@ENGINES
def test_the_result_does_not_depend_on_the_order_of_files(
    engine: str, small_fileset: dict[str, Any], reference: Any
) -> None:
    backwards = {
        name: {**dataset, "files": dict(reversed(dataset["files"].items()))}
        for name, dataset in reversed(small_fileset.items())
    }
    result = run_ttbar(backwards, QUIET, chunksize=7, engine=engine_named(engine))
    assert_identical(result.histograms, reference.histograms)


@pytest.mark.slow
@ENGINES
def test_the_result_does_not_depend_on_processes(
    engine: str, small_fileset: dict[str, Any], reference: Any
) -> None:
    executor = FuturesExecutor(workers=2, status=False)
    chosen = engine_named(engine)
    result = run_ttbar(small_fileset, executor, chunksize=7, engine=chosen)
    assert_identical(result.histograms, reference.histograms)


@ENGINES
def test_what_is_gathered_does_not_grow_with_the_files(
    engine: str, small_fileset: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def measured(*arguments: Any, **options: Any) -> dict[str, Any]:
        found = run_tasks(*arguments, **options)
        sizes.append(len(pickle.dumps(found)))
        return found

    monkeypatch.setattr("agc.hists.run.run_tasks", measured)
    dataset = small_fileset["ttbar__nominal"]
    for n in (1, 3):
        files = dict(list(dataset["files"].items())[:n])
        few = {"ttbar__nominal": {**dataset, "files": files}}
        run_ttbar(few, QUIET, engine=engine_named(engine))
    one, three = sizes
    assert three < one + 2000, "only counts are kept by file"


@pytest.mark.parametrize("chunksize", [7, 1000])
def test_coffeas_own_runner_gives_the_same(
    chunksize: int, small_fileset: dict[str, Any], reference: Any
) -> None:
    kernel = CompiledTtbar(ttbar_config())
    runner = Runner(QUIET, schema=BaseSchema, chunksize=chunksize, metadata_cache={})
    output = runner(small_fileset, kernel)
    result = collected(output, small_fileset, kernel.config)
    assert_identical(result.histograms, reference.histograms)


def test_coffeas_own_runner_runs_the_columnar_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(NanoAODSchema, "warn_missing_crossrefs", False)
    name = "single_top_s_chan__nominal"
    fileset = {name: standin_fileset()[name]}
    processor = ttbar_namespace()["processor"]
    runner = Runner(QUIET, schema=NanoAODSchema, chunksize=1000, metadata_cache={})
    result = collected(runner(fileset, processor), fileset, processor.config)
    assert_identical(result.histograms, run_ttbar(fileset, QUIET).histograms)


def test_injected_resolution_factors_are_used(tmp_path: Path) -> None:
    events = random_events(200)
    path = write_file(tmp_path / "events.root", events)
    rng = np.random.default_rng(7)
    factors = rng.normal(1, 0.05, ak.sum(ak.num(events.Jet)))
    runner = Runner(QUIET, schema=BaseSchema, metadata_cache={})
    output = runner(
        fileset_of({"ttbar__nominal": [path]}),
        CompiledTtbar(ttbar_config(), resolution={path: factors}),
    )
    injected = ak.unflatten(factors, ak.num(events.Jet))
    oracle = oracle_counts(read_file(path), "ttbar", resolution=injected)
    fileset = fileset_of({"ttbar__nominal": [path]})
    assert_equal(collected(output, fileset, ttbar_config()).counts, oracle)


def test_the_weight_variations_keep_their_identities(reference: Any) -> None:
    for histogram in reference.counts.values():
        w_jets = histogram[{"process": "wjets"}]
        nominal = w_jets[{"variation": "nominal"}].values(flow=True)
        for i in range(4):
            up = w_jets[{"variation": f"btag_var_{i}_up"}].values(flow=True)
            down = w_jets[{"variation": f"btag_var_{i}_down"}].values(flow=True)
            np.testing.assert_array_equal(up + down, 2 * nominal)
        scaled = w_jets[{"variation": "scale_var_up"}].values(flow=True)
        np.testing.assert_allclose(scaled, 1.025 * nominal, rtol=1e-7)


def test_a_process_fills_only_its_own_variations(reference: Any) -> None:
    histogram = reference.counts["4j2b"]
    for process in histogram.axes["process"]:
        filled = {
            label
            for label in histogram.axes["variation"]
            if histogram[{"process": process, "variation": label}].sum().value > 0
        }
        used = process in ("ttbar", "wjets")
        assert filled == (set(variations_of(process)) if used else set())


@pytest.mark.parametrize(
    "name",
    [
        "nanoAOD_2015_CMS_Open_Data_ttbar.root",
        "cmsopendata2015_ttbar_19980_NANOAOD_RNTupleImporter_rntuple_v1-0-0-1.root",
    ],
)
def test_real_files_run_through_and_give_empty_histograms(
    name: str, shared_data: Path
) -> None:
    path = str(shared_data / "cms-open-data-2015" / name)
    result = run_ttbar(fileset_of({"wjets__nominal": [path]}), QUIET)
    assert result.metrics.events == (10 if "RNTuple" in name else 200)
    for histogram in result.histograms.values():
        assert histogram.sum(flow=True).value == 0


def test_the_kernel_rounds_weights_as_the_columnar_processor_does() -> None:
    sizes = np.concatenate([[0.0], 2.0 ** np.arange(-60, 60), [2.0**-11, 2.0**10]])
    weights = np.concatenate([sizes * f for f in (1, 1 - 2**-53, -1.3, 1 / 3)])
    rounded = [to_weight_step(weight) for weight in weights]
    np.testing.assert_array_equal(in_steps(weights), rounded)
    np.testing.assert_allclose(rounded, weights, rtol=1e-4)
