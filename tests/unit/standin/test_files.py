"""Columns, ROOT files, the manifest and the command of the stand-in samples."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agc.standin.__main__ import main
from agc.standin.events import Events, ttbar_batch
from agc.standin.files import (
    NANOAOD,
    Collection,
    Columns,
    collection_columns,
    concatenated,
    content_digest,
    read_columns,
    root_bytes,
    rounded,
)
from agc.standin.generator import (
    GeneratorError,
    detector_rng,
    generate,
    generate_leptonic,
    pythia_seed,
)
from agc.standin.production import (
    MANIFEST,
    TASKS,
    file_digest,
    produce,
    read_manifest,
    save,
    scaled,
)
from agc.standin.recipes import HZZ, TTBAR, Recipe
from support.processes import running, wait_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

TASK, _ = TASKS
SMALL = Recipe("a test", TTBAR["ttbar__nominal"].settings, batches=3, batch_size=60)


def events(n: int = 3) -> Columns:
    counts = np.arange(n, dtype=np.int32)
    return {
        "run": np.ones(n, dtype=np.uint32),
        "event": np.arange(n, dtype=np.uint64) + 2**40,
        "nJet": counts,
        "Jet_pt": np.arange(counts.sum(), dtype=np.float32) + 30,
        "Jet_jetId": np.full(counts.sum(), 6, dtype=np.int32),
    }


finite = hnp.arrays(
    np.float64, st.integers(0, 20), elements=st.floats(-1e6, 1e6, width=32)
)


@given(finite, st.integers(4, 22))
def test_rounding_is_idempotent_and_as_precise_as_it_says(
    values: NDArray[np.float64], bits: int
) -> None:
    once = rounded(values, bits)
    assert once.dtype == np.float32
    assert np.array_equal(rounded(once.astype(np.float64), bits), once)
    normal = np.abs(values) > 1e-30
    assert np.all(
        np.abs(once - values)[normal] <= np.abs(values)[normal] * 2.0 ** -(bits + 1)
    )


def test_a_collection_keeps_the_chosen_events_objects() -> None:
    jets = Collection(
        np.array([0, 0, 2, 3]),
        {"pt": np.array([50.0, 40.0, 30.0, 20.0]), "jetId": np.array([6, 2, 6, 0])},
        np.ones(4, dtype=bool),
    )
    columns = collection_columns("Jet", jets, np.array([True, True, False, True]))
    assert columns["nJet"].tolist() == [2, 0, 1]
    assert columns["Jet_pt"].tolist() == [50.0, 40.0, 20.0]
    assert columns["Jet_jetId"].tolist() == [6, 2, 0]


def test_parts_are_joined_in_order() -> None:
    joined = concatenated([events(2), events(3)])
    assert joined["nJet"].tolist() == [0, 1, 0, 1, 2]
    assert joined["Jet_pt"].tolist() == [30.0, 30.0, 31.0, 32.0]


def test_the_digest_sees_values_types_and_names_and_not_the_order() -> None:
    reference = content_digest(events())
    assert content_digest(dict(reversed(events().items()))) == reference
    changed = events()
    changed["Jet_pt"][0] += 1
    retyped = events() | {"nJet": events()["nJet"].astype(np.int64)}
    renamed = {name.replace("run", "Run"): v for name, v in events().items()}
    assert len({reference, *map(content_digest, (changed, retyped, renamed))}) == 4


def test_a_file_gives_back_its_columns_and_says_whose_they_are(tmp_path: Path) -> None:
    path = tmp_path / "events.root"
    path.write_bytes(root_bytes(events(500)))
    assert content_digest(read_columns(path)) == content_digest(events(500))
    with uproot.open(path) as file:
        assert file["Events"].title == NANOAOD.label
        assert {branch.num_baskets for branch in file["Events"].branches} == {1}


def test_a_file_is_the_same_byte_for_byte_at_another_time() -> None:
    first = root_bytes(events())
    time.sleep(1.1)  # ROOT's times have a resolution of one second
    assert root_bytes(events()) == first


def test_every_batch_of_every_sample_has_its_own_seed() -> None:
    places = [
        (name, batch)
        for name, recipe in (TTBAR | HZZ).items()
        for batch in range(recipe.batches)
    ]
    seeds = {pythia_seed(*place) for place in places}
    assert len(seeds) == len(places)
    assert min(seeds) >= 1
    assert max(seeds) <= 900_000_000
    assert len({detector_rng(*place).random() for place in places}) == len(places)


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(GeneratorError, match=r"Top:gg2tbar = on"):
        generate(("Top:gg2tbar = on",), seed=1, n_events=1)


def test_a_process_that_cannot_start_is_an_error() -> None:
    with pytest.raises(GeneratorError, match="cannot start"):
        generate((), seed=1, n_events=1)


def test_the_number_of_workers_does_not_matter() -> None:
    def made(workers: int) -> str:
        task = replace(TASK, recipes={"ttbar__nominal": SMALL})
        *_, (_, _, sample) = produce(task, workers=workers)
        assert sample is not None
        assert sample.generated == 180
        return content_digest(sample.columns)

    assert made(1) == made(2)


def _counted(name: str, recipe: Recipe, batch: int) -> Events:
    with Path(recipe.summary).open("a") as calls:
        calls.write(f"{name} {batch}\n")
    return ttbar_batch(name, recipe, batch)


def test_what_was_interrupted_goes_on_with_the_batches_that_are_missing(
    tmp_path: Path,
) -> None:
    kept, calls = tmp_path / "batches", tmp_path / "calls"
    small = replace(SMALL, summary=str(calls))
    task = replace(TASK, recipes={"ttbar__nominal": small}, simulate=_counted)
    with closing(produce(task, workers=1, batches=kept)) as interrupted:
        assert next(interrupted)[2] is None
    before = calls.read_text().splitlines()
    assert before[0] == "ttbar__nominal 0"
    *_, (_, _, sample) = produce(task, workers=1, batches=kept)
    assert sorted(calls.read_text().splitlines()) == [
        f"ttbar__nominal {batch}" for batch in range(3)
    ]
    fresh = ttbar_batch("ttbar__nominal", small, 0).columns
    assert sample is not None
    assert sample.columns["Jet_pt"][: len(fresh["Jet_pt"])].tolist() == (
        fresh["Jet_pt"].tolist()
    )
    assert not list(kept.glob("*/*"))


def test_events_without_a_lepton_are_counted_and_not_followed() -> None:
    settings = TTBAR["ttbar__nominal"].settings
    particles, tried = generate_leptonic(settings, seed=2, n_events=100)
    assert particles.n_events == 100
    assert 140 < tried < 240
    charged = np.isin(np.abs(particles.pdg_id), (11, 13, 15))
    assert set(particles.event[charged]) == set(range(100))


def test_events_are_numbered_over_the_whole_sample() -> None:
    second = ttbar_batch("ttbar__nominal", SMALL, 1).columns
    assert len(second["event"]) > 0
    assert set(second["luminosityBlock"]) == {2}
    assert second["event"].min() > 60
    assert second["event"].max() <= 120


@pytest.mark.parametrize(("scale", "batches"), [(0.01, 1), (0.5, 2), (1.0, 3), (4, 12)])
def test_a_scale_changes_the_number_of_batches(scale: float, batches: int) -> None:
    assert scaled(SMALL, scale).batches == batches


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_is_not_positive_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        scaled(SMALL, scale)


def test_saving_leaves_the_old_file_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "ttbar__nominal.root"
    path.write_text("old")
    broken = events() | {"Jet_pt": np.zeros(1, dtype=np.float32)}
    with pytest.raises(ValueError, match=r"(?i)length|counts|unflatten"):
        save(TASK, "ttbar__nominal", Events(broken, 10), tmp_path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_entry_normalises_to_the_whole_process_and_keeps_the_others(
    tmp_path: Path,
) -> None:
    sample = Events(events(), 4000)
    whole = save(TASK, "ttbar__nominal", sample, tmp_path)
    assert whole["nevts"] == whole["generated"] == 4000
    entry = save(TASK, "wjets__nominal", sample, tmp_path)
    assert 0.2 < entry["covered_fraction"] < 0.3
    assert entry["nevts"] == pytest.approx(4000 / entry["covered_fraction"], rel=1e-4)
    assert entry["generated"] == 4000
    assert entry["kept"] == 3
    assert entry["sha256"] == file_digest(tmp_path / "wjets__nominal.root")
    content = read_manifest(tmp_path)
    assert content["label"] == NANOAOD.label
    assert content["samples"] == {"ttbar__nominal": whole, "wjets__nominal": entry}
    assert not list(tmp_path.glob(".*"))


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text('{"samples": ')
    with pytest.raises(ValueError, match=r"manifest\.json is not JSON"):
        read_manifest(tmp_path)


@pytest.mark.slow
def test_the_command_makes_samples_of_both_tasks_and_their_manifests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--output", str(tmp_path), "--scale", "0.001", "--workers", "2"]
    wanted = {"ttbar__nominal": TASKS[0], "WH125_ZZ4lep": TASKS[1]}
    assert main([*arguments, *(f"--only={name}" for name in wanted)]) == 0
    written = capsys.readouterr().out
    for name, task in wanted.items():
        folder = tmp_path / task.folder
        entry = read_manifest(folder)["samples"][name]
        followed = task.recipes[name].batch_size
        assert entry["generated"] > 1.5 * followed or name not in TTBAR
        assert entry["generated"] == followed or name in TTBAR
        columns = read_columns(folder / entry["file"], task.layout.tree)
        assert Events(columns, 0).kept == entry["kept"] > 50
        assert content_digest(columns) == entry["content_sha256"]
        assert task.layout.label in written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "ttbar"], "invalid choice: 'ttbar'"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--scale", "0"], "--scale must be positive"),
    ],
)
def test_wrong_arguments_are_explained(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_command_leaves_no_half_file(
    tmp_path: Path, repository: Path
) -> None:
    output, log = tmp_path / "output", tmp_path / "log"
    output.mkdir()
    command = [sys.executable, "-m", "agc.standin", "--output", str(output)]
    command += ["--only", "ttbar__nominal", "--workers", "1"]
    environ = {"PYTHONPATH": str(repository / "notebooks"), "PYTHONUNBUFFERED": "1"}
    with running(command, log=log, environ=environ) as process:
        wait_for(process, "Pythia", log=log)
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        status = process.wait(300)  # a batch that is under way is finished first
    assert status == 130
    assert "interrupted" in log.read_text()
    assert "Traceback" not in log.read_text()
    assert [path.name for path in output.iterdir()] in ([], [".batches"])
