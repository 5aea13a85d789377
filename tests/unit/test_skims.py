"""The skim cache: the same histograms from less, and never from something stale."""

from __future__ import annotations

import ast
import multiprocessing
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from coffea.processor import FuturesExecutor, IterativeExecutor

from agc.errors import (
    AnalysisError,
    InputFileError,
    MissingBranchError,
    MissingTreeError,
    UnreadableFileError,
)
from agc.fast import skims
from agc.fast.columns import BRANCHES, load_columns, read_columns
from agc.fast.kernel import fill_sums
from agc.fast.preselection import preselected, taken
from agc.fast.skims import clear_skims, load_skim, skim_folder, skims_bytes
from agc.hists.build import REGIONS
from agc.inputs.filesets import TREE, standin_fileset
from agc.ttbar.runs import run_ttbar
from support.nanoaod import events_from, fileset_of, random_events, write_file

QUIET = IterativeExecutor(status=False)
DATASET = "ttbar__nominal"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "skims"


@pytest.fixture
def file(tmp_path: Path) -> str:
    return write_file(tmp_path / "events.root", random_events(400))


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*"))


def assert_identical(one: Any, other: Any) -> None:
    for region in REGIONS:
        assert one.histograms[region.name] == other.histograms[region.name]
        assert one.counts[region.name] == other.counts[region.name]


def test_the_histograms_of_the_shipped_samples_are_the_same_to_the_bit(
    folder: Path,
) -> None:
    fileset = standin_fileset()
    without = run_ttbar(fileset, QUIET)
    first = run_ttbar(fileset, QUIET, skims=folder)
    second = run_ttbar(fileset, QUIET, skims=folder)
    assert_identical(first, without)
    assert_identical(second, without)
    assert without.counts["4j2b"].sum().value > 0
    assert len(kept(folder)) == len(fileset)


@pytest.mark.parametrize("seed", range(3))
def test_the_sums_of_any_events_are_the_same_to_the_bit(
    seed: int, tmp_path: Path, folder: Path
) -> None:
    events = random_events(700, seed=seed, max_jets=14)
    path = write_file(tmp_path / "events.root", events)
    columns, _ = load_columns(path, TREE)
    load_skim(path, TREE, folder)
    skim = load_skim(path, TREE, folder)
    assert skim.entries == 700
    assert 0 < len(skim.events.event) < 350
    sums = fill_sums(columns, np.empty(0), False)  # noqa: FBT003 - a compiled function
    from_skim = fill_sums(skim.events, np.empty(0), False)  # noqa: FBT003
    np.testing.assert_array_equal(from_skim, sums)
    in_region_and_variation = sums[..., 0].sum(axis=2)
    nominal, scale_up, res_up = in_region_and_variation.sum(axis=0)[:3]
    assert 0 < nominal < scale_up  # some events are there for a variation only
    assert res_up != nominal


def test_an_event_is_kept_whole(tmp_path: Path, folder: Path) -> None:
    events = random_events(200)
    path = write_file(tmp_path / "events.root", events)
    columns, _ = load_columns(path, TREE)
    chosen = preselected(columns)
    skim = load_skim(path, TREE, folder)
    assert skim.events.event.tolist() == events.event[chosen].tolist()
    for collection, field, branch in (
        ("jets", "btag", "btagCSVV2"),
        ("electrons", "cut_based", "cutBased"),
        ("muons", "tight_id", "tightId"),
    ):
        objects = getattr(skim.events, collection)
        values = getattr(objects, field)
        expected = events[collection.capitalize().removesuffix("s")][branch][chosen]
        lists = np.split(values, objects.offsets[1:-1])
        assert [one.tolist() for one in lists] == expected.tolist()


MUON = {"pt": 40.0, "eta": 0.3, "sip3d": 0.5, "tightId": True, "pfRelIso04_all": 0.0}
JET = {"pt": 60.0, "eta": 0.1, "phi": 1, "mass": 8, "btagCSVV2": 0.9, "jetId": 6}


@pytest.mark.parametrize(
    ("muons", "jets", "is_kept"),
    [
        (1, [{}] * 4, True),
        (1, [{"pt": 29.9}] * 4, True),  # the scale lifts them over 30 GeV
        (1, [{"pt": 22.0}] * 4, True),  # the resolution may
        (1, [{"pt": 20.0}] * 4, False),  # nothing does
        (1, [{}] * 3, False),
        (1, [{"btagCSVV2": 0.5}] * 4, False),
        (1, [{}, *[{"btagCSVV2": 0.5}] * 3], True),
        (1, [{"eta": 2.5}, *[{}] * 3], False),
        (1, [{"jetId": 2}, *[{}] * 3], False),
        (0, [{}] * 4, False),
        (2, [{}] * 4, False),
    ],
)
def test_an_event_is_kept_if_some_variation_could_select_it(
    muons: int,
    jets: list[dict[str, float]],
    is_kept: bool,  # noqa: FBT001 - a parameter
) -> None:
    event = {
        "run": 1,
        "luminosityBlock": 1,
        "event": 1,
        "Electron": [],
        "Muon": [MUON] * muons,
        "Jet": [JET | jet for jet in jets],
    }
    assert preselected(columns_of(events_from([event]))).tolist() == [0] * is_kept


def columns_of(events: Any) -> Any:
    """Return events in memory as columns."""

    def branch(name: str) -> Any:
        collection, _, field = name.partition("_")
        return events[collection][field] if field else events[name]

    return read_columns({name: branch(name) for name in BRANCHES})


def test_a_file_of_many_chunks_is_skimmed_as_a_whole(
    file: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_skim(file, TREE, folder / "a").events
    for size in (399, 400, 401, 100):
        monkeypatch.setattr(skims, "CHUNK_SIZE", size)
        skim = load_skim(file, TREE, folder / str(size))
        assert skim.entries == 400
        np.testing.assert_array_equal(skim.events.event, whole.event)
        np.testing.assert_array_equal(skim.events.jets.offsets, whole.jets.offsets)
        np.testing.assert_array_equal(skim.events.jets.phi, whole.jets.phi)


def test_a_second_run_reads_the_skims_only_and_says_so(file: str, folder: Path) -> None:
    fileset = fileset_of({DATASET: [file]})
    first = run_ttbar(fileset, QUIET, skims=folder).metrics
    second = run_ttbar(fileset, QUIET, skims=folder).metrics
    assert first.events == second.events == 400
    assert first.bytes_read >= 400 * 50
    assert second.bytes_read == skims_bytes(folder) < first.bytes_read


def test_the_first_run_fits_the_second_runs_compiled_code(
    file: str, folder: Path
) -> None:
    """Arrays of a file and of a skim must be of one type, or numba compiles twice."""
    load_skim(file, TREE, folder)
    cached = load_skim(file, TREE, folder).events
    read, _ = load_columns(file, TREE)
    for got, expected in zip(_arrays(cached), _arrays(read), strict=True):
        assert got.dtype == expected.dtype
        assert got.flags.writeable == expected.flags.writeable
        assert got.flags.c_contiguous


def _arrays(events: Any) -> list[Any]:
    return [*events.electrons, *events.muons, *events.jets, *events[3:]]


def test_files_that_are_known_are_not_read_again_in_another_fileset(
    file: str, tmp_path: Path, folder: Path
) -> None:
    other = write_file(tmp_path / "other.root", random_events(50, seed=2))
    run_ttbar(fileset_of({DATASET: [file]}), QUIET, skims=folder)
    (skim,) = kept(folder)
    fileset = fileset_of({"wjets__nominal": [file, other]})
    result = run_ttbar(fileset, QUIET, skims=folder)
    assert skim in kept(folder)
    assert len(kept(folder)) == 2
    assert_identical(result, run_ttbar(fileset, QUIET))


def test_off_means_off(file: str, clean_environment: Path) -> None:
    before = set(clean_environment.rglob("*"))
    run_ttbar(fileset_of({DATASET: [file]}), QUIET)
    new = set(clean_environment.rglob("*")) - before
    assert not any("skim" in str(path) for path in new)


def test_a_file_written_anew_is_read_anew(file: str, folder: Path) -> None:
    old = load_skim(file, TREE, folder)
    write_file(Path(file), random_events(400, seed=9))
    new = load_skim(file, TREE, folder)
    assert new.events.jets.pt.tolist() != old.events.jets.pt.tolist()
    expected, _ = load_columns(file, TREE)
    chosen = taken(expected, preselected(expected))
    np.testing.assert_array_equal(new.events.jets.pt, chosen.jets.pt)


def test_a_file_changed_in_place_is_read_anew(file: str, folder: Path) -> None:
    """Neither its size, its identifier nor its modification time tells."""
    load_skim(file, TREE, folder)
    before = Path(file).stat()
    with uproot.open(file) as root_file:
        branch = root_file[TREE]["Jet_jetId"]
        seek, length = (branch.member(f"fBasket{m}")[0] for m in ("Seek", "Bytes"))
    content = bytearray(Path(file).read_bytes())
    content[seek + length // 2 : seek + length] = bytes(length - length // 2)
    Path(file).write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UnreadableFileError, match="Jet_jetId"):
        load_skim(file, TREE, folder)


def test_a_file_that_is_gone_is_not_read_from_its_skim(file: str, folder: Path) -> None:
    load_skim(file, TREE, folder)
    Path(file).unlink()
    with pytest.raises(UnreadableFileError, match="there is no such file"):
        load_skim(file, TREE, folder)


def test_a_file_that_changes_while_it_is_read_is_not_kept(
    file: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = skims.load_columns

    def read_and_change(*args: Any, **options: Any) -> Any:
        columns = read(*args, **options)
        write_file(Path(file), random_events(30, seed=3))
        return columns

    monkeypatch.setattr(skims, "load_columns", read_and_change)
    load_skim(file, TREE, folder)
    assert kept(folder) == []


PROGRAM = """
import sys
from pathlib import Path
from agc.fast.skims import load_skim
print(len(load_skim(sys.argv[1], sys.argv[2], Path(sys.argv[3])).events.event))
"""


def skim_elsewhere(package: Path, *arguments: str | Path) -> int:
    """Load a skim in a new process, with the package of another folder.

    Without compilation, which would take longer than the few events.
    """
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(package), "NUMBA_DISABLE_JIT": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return int(answer.stdout)


def test_other_code_makes_another_skim(
    file: str, folder: Path, repository: Path, tmp_path: Path
) -> None:
    package = tmp_path / "code"
    shutil.copytree(repository / "notebooks" / "agc", package / "agc")
    before = skim_elsewhere(package, file, TREE, folder)
    assert before == skim_elsewhere(package, file, TREE, folder)
    assert len(kept(folder)) == 1
    selection = package / "agc" / "fast" / "selection.py"
    source = selection.read_text()
    changed = source.replace("MIN_JETS = 4", "MIN_JETS = 5")
    assert changed != source
    selection.write_text(changed)
    assert 0 < skim_elsewhere(package, file, TREE, folder) < before
    assert len(kept(folder)) == 2


def test_every_module_that_decides_the_content_is_in_the_key() -> None:
    harmless = {
        "compiled",  # how, not what
        "errors",
        "fast.exact_sums",  # sums over what a skim gives
        "hists.build",  # the binning: the reason to run again
        "inputs.config",  # what the columns, which count, stand beside
        "inputs.samples",  # names and cross-sections
        "ttbar.features",  # names, for titles of plots
    }
    decisive = {module.__name__.removeprefix("agc.") for module in skims.MODULES}
    imported: set[str] = set()
    for module in (*skims.MODULES, skims):
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            package, _, name = node.module.partition(".")
            if package == "agc" and name in {"fast", "inputs", "ttbar"}:
                imported |= {f"{name}.{alias.name}" for alias in node.names}
            elif package == "agc":
                imported.add(name)
    assert imported - harmless == decisive


def test_a_damaged_skim_is_made_again(file: str, folder: Path) -> None:
    whole = load_skim(file, TREE, folder)
    (skim,) = kept(folder)
    content = skim.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for damaged in (b"", content[:middle], content[:-1], flipped, b"PAR1PAR1"):
        skim.write_bytes(damaged)
        again = load_skim(file, TREE, folder)
        for got, expected in zip(
            _arrays(again.events), _arrays(whole.events), strict=True
        ):
            np.testing.assert_array_equal(got, expected)
        assert kept(folder) == [skim]
        assert skim.read_bytes() == content


def test_a_part_that_was_left_behind_does_no_harm(file: str, folder: Path) -> None:
    load_skim(file, TREE, folder)
    (skim,) = kept(folder)
    (skim.parent / "tmpabc.part").write_bytes(skim.read_bytes()[:100])
    skim.unlink()
    load_skim(file, TREE, folder)
    assert skim in kept(folder)
    clear_skims(folder)
    assert kept(folder) == []


def test_processes_that_write_at_once_leave_one_whole_skim(
    file: str, folder: Path
) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        arguments = [(file, TREE, folder)] * 6
        entries = [skim.entries for skim in pool.starmap(load_skim, arguments, 1)]
    assert entries == [400] * 6
    (skim,) = kept(folder)
    assert skim.suffix == ".parquet"
    assert load_skim(file, TREE, folder).bytes_read == skim.stat().st_size


def test_the_result_does_not_depend_on_processes(file: str, folder: Path) -> None:
    fileset = fileset_of({DATASET: [file], "wjets__nominal": [file]})
    executor = FuturesExecutor(workers=2, status=False)
    alone = run_ttbar(fileset, QUIET)
    assert_identical(run_ttbar(fileset, executor, skims=folder), alone)
    assert_identical(run_ttbar(fileset, executor, skims=folder), alone)


def test_a_cache_that_cannot_be_written_is_done_without(
    file: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    in_the_way = tmp_path / "a file"
    in_the_way.touch()
    fileset = fileset_of({DATASET: [file]})
    result = run_ttbar(fileset, QUIET, skims=in_the_way / "skims")
    assert_identical(result, run_ttbar(fileset, QUIET))
    assert "the skim cannot be kept" in caplog.text


def test_using_a_skim_changes_nothing_in_the_cache(file: str, folder: Path) -> None:
    def state() -> list[tuple[Path, int]]:
        return [(p, p.stat().st_mtime_ns) for p in (folder, *folder.rglob("*"))]

    load_skim(file, TREE, folder)
    before = state()
    load_skim(file, TREE, folder)
    assert state() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_cache_is_read(file: str, folder: Path, tmp_path: Path) -> None:
    load_skim(file, TREE, folder)
    size = skims_bytes(folder)
    other = write_file(tmp_path / "other.root", random_events(50, seed=2))
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        assert load_skim(file, TREE, folder).bytes_read == size
        assert load_skim(other, TREE, folder).entries == 50
    finally:
        folder.chmod(stat.S_IRWXU)
    assert len(kept(folder)) == 1


def no_root_file(folder: Path) -> str:
    (folder / "text.root").write_text("this is not a ROOT file\n" * 50)
    return str(folder / "text.root")


def no_tree(folder: Path) -> str:
    return write_file(folder / "trees.root", random_events(5), tree="Runs")


def no_branch(folder: Path) -> str:
    events = random_events(5)
    events["Jet"] = events.Jet[[f for f in events.Jet.fields if f != "btagCSVV2"]]
    return write_file(folder / "branches.root", events)


BAD = [
    (no_root_file, UnreadableFileError, "cannot be opened"),
    (no_tree, MissingTreeError, "no tree 'Events' in it, but Runs"),
    (no_branch, MissingBranchError, "no branch Jet_btagCSVV2"),
]


@pytest.mark.parametrize(("make", "error", "says"), BAD)
@pytest.mark.parametrize("where", ["here", "processes"])
def test_an_unusable_file_is_named_with_its_cause(  # noqa: PLR0917 - parameters
    make: Any,
    error: type[InputFileError],
    says: str,
    where: str,
    tmp_path: Path,
    folder: Path,
) -> None:
    path = make(tmp_path)
    executor = QUIET if where == "here" else FuturesExecutor(workers=1, status=False)
    with pytest.raises(error, match=says) as caught:
        run_ttbar(fileset_of({DATASET: [path]}), executor, skims=folder)
    assert caught.value.file == path


@pytest.mark.parametrize("make", [make for make, _, _ in BAD])
def test_a_file_that_is_skipped_is_not_kept(
    make: Any, file: str, tmp_path: Path, folder: Path
) -> None:
    bad = make(tmp_path)
    fileset = fileset_of({DATASET: [file, bad]})
    alone = run_ttbar(fileset_of({DATASET: [file]}), QUIET)
    for _ in range(2):
        result = run_ttbar(fileset, QUIET, skims=folder, on_bad_file="skip")
        assert list(result.bad_files) == [bad]
        assert_identical(result, alone)
    assert len(kept(folder)) == 1
    with pytest.raises(AnalysisError, match="none of the 1 input files"):
        run_ttbar(fileset_of({DATASET: [bad]}), QUIET, skims=folder, on_bad_file="skip")


def test_a_file_without_events_has_a_skim_too(tmp_path: Path, folder: Path) -> None:
    empty = write_file(tmp_path / "empty.root", random_events(3)[:0])
    for _ in range(2):
        result = run_ttbar(fileset_of({DATASET: [empty]}), QUIET, skims=folder)
        assert result.metrics.events == 0
        assert result.histograms["4j2b"].sum(flow=True).value == 0
    assert len(kept(folder)) == 1


def test_the_cache_tells_its_size_and_can_be_cleared(file: str, folder: Path) -> None:
    assert skims_bytes(folder) == clear_skims(folder) == 0
    load_skim(file, TREE, folder)
    size = skims_bytes(folder)
    assert size == sum(path.stat().st_size for path in kept(folder)) > 0
    (folder / "notes.txt").write_text("the user's own")
    assert clear_skims(folder) == size
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_the_cache_is_below_the_users(clean_environment: Path, tmp_path: Path) -> None:
    assert skim_folder() == clean_environment / ".cache" / "casa-env" / "skims"
    elsewhere = skim_folder({"XDG_CACHE_HOME": str(tmp_path)})
    assert elsewhere == tmp_path / "casa-env" / "skims"


@pytest.mark.parametrize(
    "name",
    [
        "nanoAOD_2015_CMS_Open_Data_ttbar.root",
        "cmsopendata2015_ttbar_19980_NANOAOD_RNTupleImporter_rntuple_v1-0-0-1.root",
    ],
)
def test_real_files_can_be_skimmed(name: str, shared_data: Path, folder: Path) -> None:
    path = str(shared_data / "cms-open-data-2015" / name)
    entries = 10 if "RNTuple" in name else 200
    for _ in range(2):
        assert load_skim(path, TREE, folder).entries == entries
    assert len(kept(folder)) == 1
