"""The benchmark compares like with like: the same histograms, the AGC's mixture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coffea.processor import IterativeExecutor

from agc.hists.compare import compare
from agc.inputs.filesets import STANDIN_FOLDER
from agc.standin.files import Columns, read_columns
from agc.ttbar.runs import run_ttbar
from benchmarks import enlarged
from benchmarks.inputs import Input, cache_folder, write
from benchmarks.nanoevents_version import our_resolution, run_nanoevents

N_EVENTS = 10_000


def enlarged_sample(mixture: enlarged.Mixture, seed: int = 1) -> Columns:
    shipped = read_columns(STANDIN_FOLDER / f"{mixture.sample}.root")
    return enlarged.enlarge(shipped, mixture, seed=seed, n_events=N_EVENTS)


@pytest.fixture(scope="module", params=[enlarged.TTBAR, enlarged.WJETS])
def mixture(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(scope="module")
def columns(mixture: enlarged.Mixture) -> Columns:
    return enlarged_sample(mixture)


def test_as_many_events_pass_as_in_the_agc_inputs(
    mixture: enlarged.Mixture, columns: Columns
) -> None:
    assert enlarged.passes(columns).sum() == round(mixture.passing * N_EVENTS)


def test_the_same_seed_gives_the_same_events_and_another_one_others(
    mixture: enlarged.Mixture, columns: Columns
) -> None:
    again, other = enlarged_sample(mixture), enlarged_sample(mixture, seed=2)
    for name, values in columns.items():
        np.testing.assert_array_equal(values, again[name])
    assert not np.isin(columns["event"], other["event"]).any()
    assert not np.array_equal(
        columns["Jet_pt"], other["Jet_pt"][: len(columns["Jet_pt"])]
    )


def test_no_value_is_copied_often_enough_to_help_a_compressor(columns: Columns) -> None:
    different = len(np.unique(columns["Electron_pt"]))
    assert different > 0.999 * len(columns["Electron_pt"])  # two may meet by chance
    assert len(np.unique(columns["event"])) == N_EVENTS


def test_both_versions_fill_the_same_histograms(
    mixture: enlarged.Mixture, columns: Columns, tmp_path: Path
) -> None:
    path = tmp_path / "events.root"
    write(path, columns, "zstd")
    fileset = Input(mixture.sample, "zstd", str(path)).fileset
    theirs = run_nanoevents(fileset, chunksize=N_EVENTS, resolution=our_resolution)
    ours = run_ttbar(fileset, IterativeExecutor(status=False)).counts
    report = compare(ours, theirs)
    assert report.agree, report
    assert sum(h.sum(flow=True).value for h in theirs.values()) > 0


def test_inputs_go_to_the_users_cache(tmp_path: Path) -> None:
    folder = cache_folder({"XDG_CACHE_HOME": str(tmp_path)})
    assert folder.is_relative_to(tmp_path)
    assert folder.is_dir()
