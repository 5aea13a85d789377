"""The HZZ task on ATLAS's own files, in pieces and whole, and in wrong units."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uproot
from coffea.processor import FuturesExecutor

from agc.errors import CatalogError, ImplausibleUnitsError, UnreadableFileError
from agc.hists.io import load_histograms
from agc.hists.spectra import contents, spectrum, variances
from agc.hzz import tables
from agc.hzz.columns import BRANCHES, TREE, events_of
from agc.hzz.files import collision_data, hzz_inputs, standin_data
from agc.hzz.processor import HzzResult, data_only
from agc.hzz.reducible import estimate_reducible
from agc.hzz.samples import DATA, REGION, hzz_config
from agc.inputs.filesets import Fileset, event_weight
from agc.inputs.rootfiles import load_arrays
from agc.model.templates import fit_templates
from agc.model.workspace import build_workspace
from support.hzz import run_shown

if TYPE_CHECKING:
    import awkward as ak


def run(fileset: Fileset, chunksize: int = 200_000) -> HzzResult:
    return run_shown(fileset, chunksize=chunksize)


def standin_arrays() -> dict[str, ak.Array]:
    (file,) = standin_data()["data_A"]["files"]
    arrays, _ = load_arrays(file, TREE, BRANCHES)
    return arrays


@pytest.fixture(scope="module")
def standin() -> HzzResult:
    return run(hzz_inputs("standin").fileset)


@pytest.fixture(scope="module")
def real(shared_data: Path) -> HzzResult:
    return run(collision_data(shared_data / "atlas-open-data-4lep"))


def test_the_real_files_have_the_published_numbers(real: HzzResult) -> None:
    counts = [
        [entries for entries, _ in steps.values()] for steps in real.cutflow.values()
    ]
    assert np.sum(counts, axis=0).tolist() == [832, 827, 644, 506, 371, 115, 289, 102]
    selected = [entries[3] for entries in counts]
    assert selected == [27, 86, 146, 247]
    observed = contents(spectrum(real.histogram, DATA, "nominal"))
    assert observed.sum() == 371
    assert observed[2] == 39
    reference = load_histograms(
        Path(__file__).parents[3] / "notebooks/inputs/hzz/reference-data.json"
    )
    assert data_only(real.histogram) == reference[REGION]


def test_the_real_control_regions_have_the_published_numbers(real: HzzResult) -> None:
    rows = tables.control_regions(real.regions, estimate_reducible(real.regions))
    assert [list(row.values())[1] for row in rows[:3]] == [100, 72, 72]
    found = [
        [row[f"{low:g} to {high:g} GeV"] for low, high in tables.WINDOWS.values()]
        for row in rows[:3]
    ]
    assert found == [[9, 18, 13, 42, 18], [4, 17, 8, 19, 24], [4, 13, 9, 29, 17]]
    # 832 entries, of which 827 have four leptons, fall in one of the four regions
    assert real.regions.sum(flow=True).value == 827
    assert rows[3]["80 to 250 GeV"] == pytest.approx(100)
    assert rows[3]["±"] == pytest.approx(19.4, abs=0.1)


@pytest.mark.parametrize("chunksize", [pytest.param(1, marks=pytest.mark.slow), 7])
def test_events_one_at_a_time_or_in_chunks_give_the_same_bits(
    standin: HzzResult, chunksize: int
) -> None:
    fileset = hzz_inputs("standin").fileset
    few = {name: fileset[name] for name in ("data_A", "WH125_ZZ4lep")}
    whole, pieces = run(few), run(few, chunksize)
    assert pieces.histogram == whole.histogram
    assert pieces.regions == whole.regions
    assert whole.regions[:, DATA, sum, sum].sum().value > 0
    for name in few:
        for cut, counted in standin.cutflow[name].items():
            np.testing.assert_array_equal(pieces.cutflow[name][cut], counted)
            np.testing.assert_array_equal(whole.cutflow[name][cut], counted)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lep_pt": 1e-3, "lep_E": 1e-3}, "these look like GeV"),
        ({"lep_pt": 1e3, "lep_E": 1e3}, "cannot be MeV"),
        ({"lep_E": 1e-3}, "pt and E are in different units"),
        ({"lep_pt": np.nan}, "cannot be MeV"),
    ],
)
def test_other_units_are_refused(change: dict[str, float], reason: str) -> None:
    arrays = standin_arrays()
    wrong: dict[str, Any] = {n: arrays[n] * f for n, f in change.items()}
    with pytest.raises(ImplausibleUnitsError, match=reason):
        events_of({**arrays, **wrong}, file="wrong.root")


@pytest.mark.fault("inputs", "ATLAS data without collisions", "the file named")
def test_a_data_file_without_collisions_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "data_A.root"
    with uproot.recreate(empty) as file:
        file.mkrntuple(TREE, {})
    fileset = hzz_inputs("standin").fileset
    data = {**fileset["data_A"], "files": {str(empty): TREE}}
    with pytest.raises(UnreadableFileError, match="no collisions in it"):
        run({"data_A": data})  # type: ignore[dict-item] # a copy of one


def test_a_data_weight_of_zero_counts_as_one_event(standin: HzzResult) -> None:
    assert not np.any(events_of(standin_arrays()).weight)
    for entries, weights in standin.cutflow["data_A"].values():
        assert entries == weights > 0


def test_collisions_are_taken_from_the_folder_that_is_named(
    shared_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(shared_data / "atlas-open-data-4lep", folder)
    inputs = hzz_inputs("auto", str(folder))
    assert inputs.real_data
    files = {
        Path(f).parent for n in "ABCD" for f in inputs.fileset[f"data_{n}"]["files"]
    }
    assert files == {folder}


@pytest.mark.fault("inputs", "no collisions in a folder", "folder and file named")
@pytest.mark.parametrize(
    ("there", "fault"), [(None, "data_A.4lep.root"), (b"other", "differ from ATLAS's")]
)
def test_a_named_folder_without_the_collisions_is_refused(
    tmp_path: Path, there: bytes | None, fault: str
) -> None:
    for name in "ABCD" if there else "":
        (tmp_path / f"data_{name}.4lep.root").write_bytes(b"other")
    with pytest.raises(
        CatalogError, match=f"no collision data in {tmp_path}: .*{fault}"
    ):
        hzz_inputs("auto", tmp_path)


def test_a_weight_is_the_formula_of_the_task() -> None:
    fileset = hzz_inputs("standin").fileset
    higgs = fileset["ggH125_ZZ4lep"]
    expected = 10_000 * 0.0060239 / higgs["metadata"]["sumw"]
    assert event_weight("ggH125_ZZ4lep", higgs, lumi_pb=10_000) == pytest.approx(
        expected
    )
    assert event_weight("data_A", fileset["data_A"], lumi_pb=10_000) == 1.0


def test_the_standin_expects_what_the_luminosity_gives(standin: HzzResult) -> None:
    found = {
        p: spectrum(standin.histogram, p, "nominal") for p in ("Z_tt", "ZZ", "signal")
    }
    assert contents(found["Z_tt"]).sum() == 0
    assert contents(found["ZZ"]).sum() == pytest.approx(248, rel=0.05)
    assert contents(found["signal"]).sum() == pytest.approx(12.3, rel=0.05)
    peak = found["ZZ"][:4]  # 80 to 100 GeV
    assert variances(peak).sum() ** 0.5 / contents(peak).sum() < 0.03


def test_the_standin_has_about_the_control_regions_of_the_collisions(
    standin: HzzResult,
) -> None:
    found = estimate_reducible(standin.regions)
    assert found.events == pytest.approx(100, abs=2 * found.uncertainty)
    rows = tables.control_regions(standin.regions, found)
    counted = sum(float(row["80 to 250 GeV"]) for row in rows[:3])
    assert counted == pytest.approx(244, rel=0.1)


def test_another_executor_gives_the_same_bits(standin: HzzResult) -> None:
    found = run_shown(
        hzz_inputs("standin").fileset,
        FuturesExecutor(pool=ThreadPoolExecutor, workers=2, status=False),
        chunksize=300,
    )
    assert found.histogram == standin.histogram
    assert found.regions == standin.regions


def test_the_standin_is_the_reference(standin: HzzResult, repository: Path) -> None:
    path = repository / "notebooks" / "inputs" / "hzz" / "reference-standin.json"
    assert load_histograms(path)[REGION] == standin.histogram


def with_weights(
    folder: Path, change: Callable[[np.ndarray], np.ndarray], *, sumw: float = 1.0
) -> Fileset:
    """Return the stand-in with other weights in one sample, and their sum."""
    fileset = hzz_inputs("standin").fileset
    dataset = fileset["llll"]
    (file,) = dataset["files"]
    with uproot.open(file) as tree:
        columns = {name: tree[TREE][name].array() for name in BRANCHES}
    columns["mcWeight"] = change(np.asarray(columns["mcWeight"], np.float64))
    path = folder / "llll.root"
    with uproot.recreate(path) as new:
        new[TREE] = columns
    metadata = dataset["metadata"] | {"sumw": dataset["metadata"]["sumw"] * sumw}
    return {
        **fileset,
        "llll": {"files": {str(path): TREE}, "metadata": metadata, "nevts": {}},
    }


@pytest.mark.fault("inputs", "weights of another scale", "the same result")
@pytest.mark.parametrize("scale", [1e-12, 1e-8, 1e-4, 1e3, 1e12])
def test_the_scale_of_weights_means_nothing(
    standin: HzzResult, tmp_path: Path, scale: float
) -> None:
    found = run(with_weights(tmp_path, lambda w: w * scale, sumw=scale))
    for field in ("value", "variance"):
        np.testing.assert_allclose(
            found.histogram.view(flow=True)[field],
            standin.histogram.view(flow=True)[field],
            rtol=2e-5,
        )


@pytest.mark.fault("inputs", "a weight is NaN or infinite", "file and branch named")
@pytest.mark.parametrize("weight", [np.nan, np.inf])
def test_a_weight_that_is_no_number_is_the_files_fault(
    tmp_path: Path, weight: float
) -> None:
    fileset = with_weights(
        tmp_path, lambda w: np.where(np.arange(len(w)) < 1, weight, w)
    )
    with pytest.raises(UnreadableFileError, match=r"llll.root: branch mcWeight holds"):
        run(fileset)


@pytest.mark.fault("inputs", "most weights are negative", "the template is named")
def test_negative_templates_are_refused(tmp_path: Path) -> None:
    found = run(with_weights(tmp_path, lambda w: -w))
    config = hzz_config(real_data=False)
    templates = fit_templates({REGION: found.histogram}, config)
    with pytest.raises(ValueError, match="ZZ/nominal has negative or undefined"):
        build_workspace(templates, templates, config)


@pytest.mark.fault("inputs", "half of a file of collisions", "file and counts named")
def test_a_file_with_other_events_than_listed_is_refused() -> None:
    fileset = standin_data()
    (file,) = fileset["data_A"]["files"]
    fileset["data_A"]["entries"] = {file: 922}
    with pytest.raises(UnreadableFileError, match="716 events, its catalog says 922"):
        run(fileset)
