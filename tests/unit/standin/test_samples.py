"""The samples that ship in notebooks/inputs: what they say, hold and look like."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import vector

from agc.inputs.samples import LUMI_PB, SAMPLES, XSEC_PB
from agc.standin.files import Columns, content_digest, read_columns
from agc.standin.generator import generate, generator_version
from agc.standin.jets import cluster, reconstruct
from agc.standin.production import MANIFEST, TASKS, Task, file_digest, read_manifest
from agc.standin.recipes import BASE_SEED, TTBAR

INPUTS = Path(__file__).resolve().parents[3] / "notebooks" / "inputs"
NAMES = tuple(sample.name for sample in SAMPLES)
MEGABYTE = 1e6

ELECTRON = ("pt", "eta", "phi", "mass", "sip3d")
MUON = (*ELECTRON, "pfRelIso04_all")
JET = ("pt", "eta", "phi", "mass", "btagCSVV2", "qgl")
TYPES = (
    {"run": "uint32", "luminosityBlock": "uint32", "event": "uint64"}
    | {"nElectron": "int32", "nMuon": "int32", "nJet": "int32"}
    | {f"Electron_{name}": "float32" for name in ELECTRON}
    | {"Electron_cutBased": "int32", "Electron_charge": "int32"}
    | {f"Muon_{name}": "float32" for name in MUON}
    | {"Muon_tightId": "bool", "Muon_charge": "int32"}
    | {f"Jet_{name}": "float32" for name in JET}
    | {"Jet_jetId": "int32"}
)
TRUTH_TYPES = (
    {"nGenPart": "int32"}
    | {f"GenPart_{name}": "float32" for name in ("pt", "eta", "phi", "mass")}
    | {
        f"GenPart_{name}": "int32"
        for name in ("pdgId", "status", "statusFlags", "genPartIdxMother")
    }
)


#: The task of every sample of both.
TASK_OF = {name: task for task in TASKS for name in task.recipes}


@cache
def manifest(folder: str = ".") -> dict[str, Any]:
    return read_manifest(INPUTS / folder)


@cache
def columns(name: str) -> Columns:
    task = TASK_OF[name]
    return read_columns(INPUTS / task.folder / f"{name}.root", task.layout.tree)


def objects(name: str, collection: str) -> ak.Array:
    """Return a collection as vectors, event by event."""
    vector.register_awkward()
    data = columns(name)
    fields = {
        column.partition("_")[2]: values
        for column, values in data.items()
        if column.startswith(f"{collection}_")
    }
    flat = ak.zip(fields, with_name="Momentum4D")
    return ak.unflatten(flat, data[f"n{collection}"])


def selection(name: str) -> tuple[ak.Array, ak.Array, ak.Array]:
    """Select as the task does; return both regions' masks and the selected jets."""
    electron, muon = objects(name, "Electron"), objects(name, "Muon")
    jet = objects(name, "Jet")
    electron = electron[
        (electron.pt > 30)
        & (abs(electron.eta) < 2.1)
        & (electron.cutBased == 4)
        & (electron.sip3d < 4)
    ]
    muon = muon[
        (muon.pt > 30)
        & (abs(muon.eta) < 2.1)
        & muon.tightId
        & (muon.sip3d < 4)
        & (muon.pfRelIso04_all < 0.15)
    ]
    jet = jet[(jet.pt > 30) & (abs(jet.eta) < 2.4) & ((jet.jetId & 4) > 0)]
    passed = (ak.num(electron) + ak.num(muon) == 1) & (ak.num(jet) >= 4)
    n_tags = ak.sum(jet.btagCSVV2 > 0.5, axis=1)
    return passed & (n_tags == 1), passed & (n_tags >= 2), jet


def test_there_is_one_recipe_for_each_sample_of_the_ttbar_task() -> None:
    assert set(TTBAR) == set(NAMES)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.layout.experiment)
def test_a_manifest_lists_the_files_there_are_and_says_what_they_are(
    task: Task,
) -> None:
    content = manifest(task.folder)
    assert set(content["samples"]) == set(task.recipes)
    assert content["label"] == task.layout.label
    assert content["base_seed"] == BASE_SEED
    assert content["generator"]["version"] == generator_version()
    files = {entry["file"] for entry in content["samples"].values()}
    assert {path.name for path in (INPUTS / task.folder).glob("*.root")} == files


def test_the_files_are_small_enough_to_ship() -> None:
    paths = [INPUTS / MANIFEST, *INPUTS.glob("*.root")]
    total = sum(path.stat().st_size for path in paths)
    assert total < 18 * MEGABYTE


@pytest.mark.parametrize("name", TASK_OF)
def test_files_and_recipes_are_what_the_manifest_says(name: str) -> None:
    task = TASK_OF[name]
    entry, recipe = manifest(task.folder)["samples"][name], task.recipes[name]
    path = INPUTS / task.folder / entry["file"]
    assert file_digest(path) == entry["sha256"]
    assert path.stat().st_size == entry["size_bytes"]
    assert content_digest(columns(name)) == entry["content_sha256"]
    assert entry["settings"] == list(recipe.settings)
    assert entry["process"] == recipe.summary
    assert (entry["batches"], entry["batch_size"]) == (
        recipe.batches,
        recipe.batch_size,
    )
    if "covered_fraction" in entry:
        nevts = entry["generated"] / entry["covered_fraction"]
        assert entry["nevts"] == pytest.approx(nevts, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_columns_have_the_types_of_nanoaod(name: str) -> None:
    found = {column: values.dtype.name for column, values in columns(name).items()}
    truth = TRUTH_TYPES if name == "ttbar__nominal" else {}
    assert found == TYPES | truth


def test_real_nanoaod_has_these_columns_with_these_types(shared_data: Path) -> None:
    real = shared_data / "cms-open-data-2015" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
    with uproot.open(real) as file:
        tree = file["Events"]
        wanted = [*TYPES, *TRUTH_TYPES]
        types = {
            name: ak.to_numpy(ak.flatten(tree[name].array(), axis=None)).dtype.name
            for name in wanted
        }
    counts = {name for name in wanted if name.startswith("n")}
    assert {types.pop(name) for name in counts} == {"uint32"}  # ours: uproot's int32
    expected = TYPES | TRUTH_TYPES
    assert types == {name: expected[name] for name in types}


@pytest.mark.parametrize("name", NAMES)
def test_event_numbers_are_unique_and_belong_to_their_block(name: str) -> None:
    data, recipe = columns(name), TTBAR[name]
    assert len(np.unique(data["event"])) == len(data["event"])
    block = (data["event"].astype(np.int64) - 1) // recipe.batch_size + 1
    assert np.array_equal(block, data["luminosityBlock"])


@pytest.mark.parametrize("name", NAMES)
def test_every_number_is_finite_and_jets_are_ordered(name: str) -> None:
    for values in columns(name).values():
        assert np.isfinite(values.astype(np.float64)).all()
    pt = objects(name, "Jet").pt
    assert ak.all(pt[:, :-1] >= pt[:, 1:])
    assert ak.min(pt) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_kept_events_pass_the_skim(name: str) -> None:
    jet = objects(name, "Jet")
    good = (jet.pt >= 25) & (abs(jet.eta) < 2.403) & ((jet.jetId & 4) > 0)
    assert ak.all(ak.sum(good, axis=1) >= 4)
    electron, muon = objects(name, "Electron"), objects(name, "Muon")
    loose = ak.sum((electron.pt >= 25) & (electron.cutBased >= 2), axis=1) + ak.sum(
        (muon.pt >= 25) & (muon.pfRelIso04_all <= 0.25), axis=1
    )
    assert ak.all(loose >= 1)


def test_the_skim_loses_no_event_of_a_jet_variation() -> None:
    settings = TTBAR["ttbar__nominal"].settings
    particles = generate(settings, seed=12, n_events=400)
    rng = np.random.Generator(np.random.Philox(3))
    everything = np.ones(particles.n_events, dtype=bool)
    jets = reconstruct(cluster(particles, everything), rng)
    pt = jets.columns["pt"].astype(np.float64)
    central = np.abs(jets.columns["eta"].astype(np.float64)) < 2.4
    central &= (jets.columns["jetId"].astype(np.int64) & 4) > 0

    def at_least_four(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> Any:
        return np.bincount(jets.event[mask], minlength=particles.n_events) >= 4

    kept = at_least_four(jets.counted)
    for factor in (1.0, 1.03, rng.normal(1.0, 0.05, len(pt))):
        selected = at_least_four(central & (pt * factor > 30))
        assert selected.sum() > 100
        assert not np.any(selected & ~kept)
    assert kept.sum() > at_least_four(central & (pt > 30)).sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ttbar__nominal",
        "ttbar__scaledown",
        "ttbar__ME_var",
        "ttbar__PS_var",
        "single_top_tW__nominal",
        "wjets__nominal",
        "llll",
        "WH125_ZZ4lep",
        "data_standin",
    ],
)
def test_a_batch_comes_out_again_bit_for_bit(name: str) -> None:
    shipped, task = columns(name), TASK_OF[name]
    batch = int(shipped["luminosityBlock"][0]) - 1 if name in TTBAR else 0
    again = task.simulate(name, task.recipes[name], batch).columns
    assert set(again) == set(shipped)
    for column, values in again.items():
        first = shipped[column][: len(values)]
        assert values.dtype == first.dtype, column
        assert values.tobytes() == first.tobytes(), column


#: Published unweighted yields of the AGC's first file of each sample (4j1b, 4j2b) and
#: that file's number of events; electrons only, as far as one can tell.
PUBLISHED = {
    "ttbar__nominal": (12_693, 28_616, 1_334_428),
    "single_top_tW__nominal": (5_903, 7_834, 847_600),
    "single_top_t_chan__nominal": (793, 1_480, 1_178_640),
    "single_top_s_chan__nominal": (464, 1_078, 632_000),
    "wjets__nominal": (145, 48, 1_249_076),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_yields_are_near_the_published_ones(name: str) -> None:
    one, two, total = PUBLISHED[name]
    in_4j1b, in_4j2b, _ = selection(name)
    ours = (ak.sum(in_4j1b) + ak.sum(in_4j2b)) / manifest()["samples"][name]["nevts"]
    assert 1.3 < ours / ((one + two) / total) < 5.0
    assert ak.sum(in_4j1b) / ak.sum(in_4j2b) == pytest.approx(one / two, rel=0.4)


@pytest.mark.parametrize("variation", ["scaledown", "scaleup", "ME_var", "PS_var"])
def test_varied_samples_differ_and_not_by_much(variation: str) -> None:
    def acceptance(name: str) -> float:
        in_4j1b, in_4j2b, _ = selection(name)
        selected = ak.sum(in_4j1b) + ak.sum(in_4j2b)
        return float(selected / manifest()["samples"][name]["nevts"])

    ratio = acceptance(f"ttbar__{variation}") / acceptance("ttbar__nominal")
    assert 0.7 < ratio < 1.2
    assert ratio != pytest.approx(1.0, abs=1e-3)


def test_w_jets_have_enough_events_of_a_small_enough_weight() -> None:
    weight = (
        XSEC_PB["wjets"] * LUMI_PB / manifest()["samples"]["wjets__nominal"]["nevts"]
    )
    assert weight < 41.9  # of the AGC's first file
    in_4j1b, in_4j2b, _ = selection("wjets__nominal")
    assert ak.sum(in_4j1b) + ak.sum(in_4j2b) >= 100


def test_the_cuts_of_the_analysis_have_something_to_cut() -> None:
    electron, muon = (objects("ttbar__nominal", c) for c in ("Electron", "Muon"))
    jet = objects("ttbar__nominal", "Jet")
    for share in (
        ak.mean(electron.cutBased[electron.pt > 30] == 4),
        ak.mean(electron.sip3d[electron.pt > 30] < 4),
        ak.mean(muon.tightId[muon.pt > 30]),
        ak.mean(muon.pfRelIso04_all[muon.pt > 30] < 0.15),
        ak.mean((jet.jetId & 4) > 0),
        ak.mean(abs(jet.eta) < 2.4),
    ):
        assert 0.3 < share < 0.99


def test_the_three_jet_mass_peaks_at_the_top_quark() -> None:
    _, in_4j2b, jet = selection("ttbar__nominal")
    three = ak.combinations(jet[in_4j2b], 3, fields=("a", "b", "c"))
    tagged = (
        (three.a.btagCSVV2 > 0.5)
        | (three.b.btagCSVV2 > 0.5)
        | (three.c.btagCSVV2 > 0.5)
    )
    total = (three.a + three.b + three.c)[tagged]
    mass = ak.flatten(total[ak.argmax(total.pt, axis=1, keepdims=True)].mass)
    counts, edges = np.histogram(ak.to_numpy(mass), bins=25, range=(50, 550))
    peak = np.argmax(counts)
    assert 140 < edges[peak] < 180
    assert counts[peak] > 2 * counts[edges[:-1] >= 250].max()


@pytest.mark.parametrize("name", [name for name in NAMES if TTBAR[name].leptonic])
def test_events_that_were_not_followed_count_in_the_normalisation(name: str) -> None:
    entry, recipe = manifest()["samples"][name], TTBAR[name]
    followed = recipe.batches * recipe.batch_size / entry["generated"]
    hadronic = 1 - 3 * 0.1084  # the decays of a W boson
    n_w = 1 if "t_chan" in name else 2
    assert followed == pytest.approx(1 - hadronic**n_w, rel=0.02)
    assert entry["nevts"] == entry["generated"]


def test_every_top_quark_decays_to_a_w_boson_and_a_quark() -> None:
    truth = objects("ttbar__nominal", "GenPart")
    pdg_id, mother = truth.pdgId, truth.genPartIdxMother
    is_top, is_w = abs(pdg_id) == 6, abs(pdg_id) == 24
    assert ak.all(ak.sum(is_top, axis=1) == 2)
    assert ak.all(ak.sum(is_w, axis=1) == 2)
    assert ak.all(mother[is_top] == -1)
    assert ak.all(mother[~is_top] >= 0)
    assert ak.all(mother < ak.local_index(mother, axis=1))
    mother_id = pdg_id[mother[~is_top]]
    daughter_id = pdg_id[~is_top]
    # The charge of a top's W, and of a W's daughters, follows from its own.
    of_top = abs(mother_id) == 6
    is_boson = abs(daughter_id) == 24
    assert ak.all((mother_id * daughter_id)[of_top & is_boson] == 6 * 24)
    quark = daughter_id[of_top & ~is_boson]
    assert ak.all(ak.num(quark) == 2)
    assert ak.mean(abs(quark) == 5) > 0.99
    assert ak.all(ak.sum(abs(mother_id) == 24, axis=1) == 4)
    of_w = abs(daughter_id[abs(mother_id) == 24])
    assert ak.all(ak.any((of_w >= 11) & (of_w <= 16), axis=1))
    kinds = Counter(ak.flatten(of_w).tolist())
    assert set(kinds) <= {1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16}
    assert kinds[11] == kinds[12]
    assert kinds[13] == kinds[14]
    assert kinds[15] == kinds[16]


def test_true_masses_are_those_of_the_top_quark_and_the_w_boson() -> None:
    truth = objects("ttbar__nominal", "GenPart")
    kind = abs(truth.pdgId)
    assert np.median(ak.flatten(truth.mass[kind == 6])) == pytest.approx(172.5, abs=0.5)
    assert np.median(ak.flatten(truth.mass[kind == 24])) == pytest.approx(80.4, abs=0.5)
    assert ak.all(truth.mass[(kind != 6) & (kind != 24)] == 0)


def test_leptons_and_neutrinos_of_a_w_boson_have_its_mass() -> None:
    truth = objects("ttbar__nominal", "GenPart")
    kind = abs(truth.pdgId)
    pairs = ak.cartesian(
        {
            "lepton": truth[(kind == 11) | (kind == 13) | (kind == 15)],
            "neutrino": truth[(kind == 12) | (kind == 14) | (kind == 16)],
        }
    )
    same = pairs.lepton.genPartIdxMother == pairs.neutrino.genPartIdxMother
    mass = ak.flatten((pairs.lepton + pairs.neutrino).mass[same])
    assert np.median(mass) == pytest.approx(80.0, abs=1.0)


def test_jets_matched_to_the_quarks_rebuild_the_w_boson_and_the_top_quark() -> None:
    _, in_4j2b, jet = selection("ttbar__nominal")
    truth = objects("ttbar__nominal", "GenPart")[in_4j2b]
    jet = jet[in_4j2b]
    mother_id = truth.pdgId[truth.genPartIdxMother]
    from_w = (abs(truth.pdgId) < 6) & (abs(mother_id) == 24)
    hadronic = ak.sum(from_w, axis=1) == 2
    truth, jet, from_w = truth[hadronic], jet[hadronic], from_w[hadronic]
    the_w = ak.firsts(truth.genPartIdxMother[from_w])
    the_top = ak.firsts(truth.genPartIdxMother[ak.local_index(truth.pt) == the_w])
    is_b = (abs(truth.pdgId) == 5) & (truth.genPartIdxMother == the_top)
    quarks = ak.concatenate([truth[from_w], truth[is_b]], axis=1)
    quarks, jet = quarks[ak.num(quarks) == 3], jet[ak.num(quarks) == 3]
    pairs = ak.cartesian({"quark": quarks, "jet": jet}, nested=True)
    distance = pairs.quark.deltaR(pairs.jet)
    nearest = ak.argmin(distance, axis=2)
    close = ak.all(ak.min(distance, axis=2) < 0.4, axis=1)
    distinct = (
        (nearest[:, 0] != nearest[:, 1])
        & (nearest[:, 0] != nearest[:, 2])
        & (nearest[:, 1] != nearest[:, 2])
    )
    matched = close & distinct
    assert ak.mean(matched) > 0.4
    found = jet[nearest][matched]
    found = ak.drop_none(found)
    w_mass = ak.to_numpy((found[:, 0] + found[:, 1]).mass, allow_missing=False)
    top_mass = (found[:, 0] + found[:, 1] + found[:, 2]).mass
    top_mass = ak.to_numpy(top_mass, allow_missing=False)
    assert np.median(w_mass) == pytest.approx(80, abs=8)
    assert np.median(top_mass) == pytest.approx(168, abs=12)
    tagged = ak.mean(found.btagCSVV2 > 0.5, axis=0)
    assert tagged[2] > 0.8
    assert max(tagged[0], tagged[1]) < 0.5
