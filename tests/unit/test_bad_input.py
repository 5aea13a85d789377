"""Unusable inputs: each a clear error, and the other files' results are kept."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from coffea.processor import FuturesExecutor, IterativeExecutor
from uproot import LZMA

from agc.errors import (
    AnalysisError,
    InputFileError,
    MissingBranchError,
    MissingTreeError,
    UnknownProcessError,
    UnreadableFileError,
)
from agc.fast.columns import BRANCHES
from agc.inputs.columns import flat_columns
from agc.ttbar.ml.training_data import training_data
from agc.ttbar.runs import run_ttbar
from support.nanoaod import fileset_of, random_events, write_file
from support.webservers import refusing_website

QUIET = IterativeExecutor(status=False)
DATASET = "ttbar__nominal"


@pytest.fixture
def good(tmp_path: Path) -> str:
    return write_file(tmp_path / "good.root", random_events(60))


def missing(folder: Path) -> str:
    return str(folder / "nowhere.root")


def no_root_file(folder: Path) -> str:
    (folder / "text.root").write_text("this is not a ROOT file\n" * 50)
    return str(folder / "text.root")


def empty_file(folder: Path) -> str:
    (folder / "zero.root").touch()
    return str(folder / "zero.root")


def truncated(folder: Path) -> str:
    path = Path(write_file(folder / "truncated.root", random_events(400)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return str(path)


def spoil(path: Path, change: Callable[[bytes], bytes]) -> str:
    """Change the second half of the basket of a file's last jet branch."""
    with uproot.open(path) as file:
        branch = file["Events"]["Jet_jetId"]
        seek = branch.member("fBasketSeek")[0]
        stop = seek + branch.member("fBasketBytes")[0]
    content = bytearray(path.read_bytes())
    middle = (seek + stop) // 2
    content[middle:stop] = change(content[middle:stop])
    path.write_bytes(content)
    return str(path)


def damaged(folder: Path) -> str:
    """Make a file that opens, but whose last jet branch cannot be decompressed."""
    path = Path(write_file(folder / "damaged.root", random_events(400)))
    return spoil(path, lambda content: bytes(len(content)))


def flipped(folder: Path) -> str:
    """Make a file compressed like the shipped ones, with noise in that branch."""
    path = folder / "flipped.root"
    write_file(path, random_events(400), compression=LZMA(9))
    return spoil(path, lambda content: bytes(byte ^ 0x5A for byte in content))


def no_tree(folder: Path) -> str:
    return write_file(folder / "trees.root", random_events(5), tree="Runs")


def no_branch(folder: Path) -> str:
    path = folder / "branches.root"
    events = random_events(5)
    events["Jet"] = events.Jet[[f for f in events.Jet.fields if f != "btagCSVV2"]]
    return write_file(path, events)


def with_column(name: str, change: Callable[[ak.Array], Any], path: Path) -> str:
    """Write a file with one column changed, as an RNTuple: that holds any type."""
    events = random_events(60)
    columns = {}
    for branch in BRANCHES:
        collection, _, field = branch.partition("_")
        column = events[collection, field] if field else events[branch]
        columns[branch] = change(column) if branch == name else column
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", columns)
    return str(path)


def one_jet_each(folder: Path) -> str:
    return with_column(
        "Jet_pt",
        lambda pt: ak.values_astype(ak.fill_none(ak.firsts(pt), 0), np.float32),
        folder / "leading.root",
    )


def lists_of_lists(folder: Path) -> str:
    return with_column("Jet_pt", lambda pt: pt[:, :, np.newaxis], folder / "deep.root")


def run_as_lists(folder: Path) -> str:
    return with_column("run", lambda run: ak.unflatten(run, 1), folder / "lists.root")


def run_as_text(folder: Path) -> str:
    return with_column("run", lambda run: [str(r) for r in run], folder / "text.root")


def run_too_large(folder: Path) -> str:
    return with_column(
        "run",
        lambda run: ak.values_astype(run, np.int64) * 2**40,
        folder / "large.root",
    )


def fractional_id(folder: Path) -> str:
    return with_column("Jet_jetId", lambda one: one + 0.5, folder / "half.root")


def no_tree_but_a_histogram(folder: Path) -> str:
    path = folder / "histogram.root"
    with uproot.recreate(path) as file:
        file["Events"] = np.histogram([1.0, 2.0])
    return str(path)


def many_things(folder: Path) -> str:
    path = folder / "many.root"
    with uproot.recreate(path) as file:
        for i in range(40):
            file[f"thing_{i}"] = np.histogram([1.0])
    return str(path)


WRONG_CONTENT = [
    (one_jet_each, UnreadableFileError, "branch Jet_pt holds float32, wanted is var *"),
    (lists_of_lists, UnreadableFileError, "branch Jet_pt holds var * "),
    (run_as_lists, UnreadableFileError, "branch run holds 1 * uint32, wanted is"),
    (run_as_text, UnreadableFileError, "branch run holds string, wanted is uint32"),
    (run_too_large, UnreadableFileError, "which no uint32 can be"),
    (fractional_id, UnreadableFileError, "Jet_jetId holds float64, wanted is int32"),
    (no_tree_but_a_histogram, MissingTreeError, "is no tree, but a TH1D"),
    (many_things, MissingTreeError, "thing_7 and 32 more"),
]


BAD_FILES = [
    *WRONG_CONTENT,
    (missing, UnreadableFileError, "no such file"),
    (no_root_file, UnreadableFileError, "cannot be opened"),
    (empty_file, UnreadableFileError, "cannot be opened"),
    (truncated, UnreadableFileError, "cannot be"),
    (damaged, UnreadableFileError, "Jet_jetId"),
    (flipped, UnreadableFileError, "Jet_jetId"),
    (no_tree, MissingTreeError, "no tree 'Events' in it, but Runs"),
    (no_branch, MissingBranchError, "no branch Jet_btagCSVV2"),
]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        pytest.param(
            *row,
            id=row[0].__name__,
            marks=pytest.mark.fault(
                "inputs", row[0].__name__.replace("_", " "), "file and cause named"
            ),
        )
        for row in BAD_FILES
    ],
)
@pytest.mark.parametrize("where", ["here", "processes"])
def test_an_unusable_file_is_named_with_its_cause(
    make: Any, error: type[InputFileError], says: str, where: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    executor = QUIET if where == "here" else FuturesExecutor(workers=1, status=False)
    with pytest.raises(error) as caught:
        run_ttbar(fileset_of({DATASET: [path]}), executor)
    assert caught.value.file == path
    assert path in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize("make", [make for make, _, _ in BAD_FILES])
def test_the_other_files_results_are_kept_on_request(
    make: Any, good: str, tmp_path: Path
) -> None:
    bad = make(tmp_path)
    alone = run_ttbar(fileset_of({DATASET: [good]}), QUIET)
    both = run_ttbar(
        fileset_of({DATASET: [good, bad]}), QUIET, chunksize=17, on_bad_file="skip"
    )
    assert list(both.bad_files) == [bad]
    assert 0 < len(both.bad_files[bad]) < 300
    # normalised to the good file's events only
    for region, histogram in alone.histograms.items():
        assert both.histograms[region] == histogram
    assert alone.counts["4j2b"].sum().value > 0


def test_nothing_of_a_half_readable_file_is_used(tmp_path: Path, good: str) -> None:
    """The first entries of the damaged file can be read; they must not count."""
    path = tmp_path / "two_baskets.root"
    events = random_events(400)
    columns = {name: events[name] for name in events.fields}
    with uproot.recreate(path) as file:
        file.mktree("Events", {name: column.type for name, column in columns.items()})
        for half in (slice(0, 200), slice(200, 400)):
            file["Events"].extend({n: column[half] for n, column in columns.items()})
    with uproot.open(path) as file:
        branch = file["Events"]["Jet_pt"]
        seek, length = (branch.member(f"fBasket{m}")[1] for m in ("Seek", "Bytes"))
    content = bytearray(path.read_bytes())
    content[seek + length // 2 : seek + length] = bytes(length - length // 2)
    path.write_bytes(content)
    fileset = fileset_of({DATASET: [good, str(path)]})
    result = run_ttbar(fileset, QUIET, chunksize=50, on_bad_file="skip")
    alone = run_ttbar(fileset_of({DATASET: [good]}), QUIET)
    assert list(result.bad_files) == [str(path)]
    assert result.counts["4j2b"] == alone.counts["4j2b"]
    assert result.metrics.events == 60


def test_a_run_without_any_usable_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match="none of the 1 input files"):
        run_ttbar(fileset_of({DATASET: [missing(tmp_path)]}), QUIET, on_bad_file="skip")


@pytest.mark.fault("inputs", "a tree without events", "the same result")
def test_an_empty_tree_adds_nothing_and_is_no_error(tmp_path: Path, good: str) -> None:
    empty = write_file(tmp_path / "empty.root", random_events(3)[:0])
    result = run_ttbar(fileset_of({DATASET: [good, empty]}), QUIET)
    alone = run_ttbar(fileset_of({DATASET: [good]}), QUIET)
    assert result.counts["4j2b"] == alone.counts["4j2b"]
    assert result.bad_files == {}
    only = run_ttbar(fileset_of({DATASET: [empty]}), QUIET)
    assert only.metrics.events == 0
    assert only.histograms["4j2b"].sum(flow=True).value == 0


def test_a_tree_without_events_and_branches_is_empty_too(
    tmp_path: Path, good: str
) -> None:
    """Some jobs write such trees where no event is left of those generated."""
    path = tmp_path / "nothing.root"
    with uproot.recreate(path) as file:
        file.mkrntuple("Events", {})
    empty = write_file(tmp_path / "empty.root", random_events(3)[:0])
    nothing = run_ttbar(fileset_of({DATASET: [good, str(path)]}), QUIET)
    wanted = run_ttbar(fileset_of({DATASET: [good, empty]}), QUIET)
    assert nothing.bad_files == {}
    assert nothing.histograms["4j2b"] == wanted.histograms["4j2b"]


@pytest.mark.fault(
    "inputs", "half of a file, or one that grew", "file and counts named"
)
@pytest.mark.parametrize("entries", [59, 61, 120])
def test_a_file_with_other_events_than_its_catalog_says_is_bad(
    tmp_path: Path, good: str, entries: int
) -> None:
    """Half of a file, or an empty one, would halve the yield without a word."""
    other = write_file(tmp_path / "other.root", random_events(60, seed=2))
    fileset = fileset_of({DATASET: [good, other]})
    fileset[DATASET]["entries"] = {good: 60, other: entries}
    with pytest.raises(UnreadableFileError, match=f"its catalog says {entries}"):
        run_ttbar(fileset, QUIET, chunksize=17)
    both = run_ttbar(fileset, QUIET, chunksize=17, on_bad_file="skip")
    assert list(both.bad_files) == [other]
    alone = run_ttbar(fileset_of({DATASET: [good]}), QUIET)
    assert both.histograms["4j2b"] == alone.histograms["4j2b"]


@pytest.mark.fault("inputs", "a data file without collisions", "the file named")
def test_a_data_file_without_collisions_is_bad(tmp_path: Path, good: str) -> None:
    empty = write_file(tmp_path / "empty.root", random_events(3)[:0])
    data = {"process": "pseudodata", "variation": "nominal"}
    fileset: Any = fileset_of({DATASET: [good]})
    fileset["data"] = {"files": {good: "Events", empty: "Events"}, "metadata": data}
    with pytest.raises(UnreadableFileError, match="no collisions in it") as caught:
        run_ttbar(fileset, QUIET)
    assert caught.value.file == empty
    assert list(run_ttbar(fileset, QUIET, on_bad_file="skip").bad_files) == [empty]


@pytest.mark.fault("inputs", "a web server that fails", "the file named, no secret")
@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_that_refuses_is_said_without_secrets(status: int) -> None:
    signature = "s3cret"
    with refusing_website(status) as url, pytest.raises(UnreadableFileError) as caught:
        run_ttbar(fileset_of({DATASET: [f"{url}/f.root?signature={signature}"]}), QUIET)
    text = "".join(traceback.format_exception(caught.value))
    assert "f.root" in str(caught.value)
    assert signature not in text


def test_advice_that_cannot_be_followed_is_not_given(tmp_path: Path, good: str) -> None:
    bad = missing(tmp_path)
    with pytest.raises(InputFileError, match='on_bad_file="skip"'):
        run_ttbar(fileset_of({DATASET: [good, bad]}), QUIET)
    with pytest.raises(InputFileError) as caught:
        training_data(fileset_of({DATASET: [good, bad]}), QUIET)
    assert "on_bad_file" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.fault("inputs", "columns of any shape or type", "right, or refused")
def test_columns_of_any_kind_are_read_right_or_refused(request: Any) -> None:
    """In a process of its own: memory beyond an array would end this one."""
    root = request.config.rootpath
    done = subprocess.run(
        [sys.executable, "-P", "-m", "support.fuzzing"],
        env=os.environ | {"PYTHONPATH": f"{root}/tests:{root}/notebooks"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = ast.literal_eval(done.stdout.splitlines()[-1])
    assert counts["right"] > 50
    assert counts["refused"] > 50


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"process": "higgs", "variation": "nominal"}, "unknown process 'higgs'"),
        (
            {"process": "wjets", "variation": "ME_var"},
            "unknown variation 'ME_var' of 'wjets'",
        ),
        ({"process": "wjets"}, "no 'xsec_pb' in its metadata"),
    ],
)
def test_an_unknown_process_is_refused(
    metadata: dict[str, str], says: str, good: str
) -> None:
    fileset = fileset_of({DATASET: [good]})
    fileset[DATASET]["metadata"] = metadata
    with pytest.raises(UnknownProcessError, match=says):
        run_ttbar(fileset, QUIET)


def test_branches_of_other_lengths_are_refused(tmp_path: Path) -> None:
    """A jagged branch that does not belong to its collection must not shift jets."""
    path = tmp_path / "mixed.root"
    events = random_events(5)
    other = ak.Array([[1.0]] * 5)
    columns: dict[str, Any] = {}
    for name in BRANCHES:
        collection, _, field = name.partition("_")
        columns[name] = events[collection][field] if field else events[name]
    columns["Jet_mass"] = ak.values_astype(other, np.float32)
    with uproot.recreate(path) as file:
        file.mktree("Events", {n: ak.type(c) for n, c in columns.items()})
        file["Events"].extend(columns)
    with pytest.raises(UnreadableFileError, match="Jet_mass has other list lengths"):
        run_ttbar(fileset_of({DATASET: [str(path)]}), QUIET)


def test_errors_survive_the_way_back_from_a_worker() -> None:
    error = MissingBranchError("file.root", "no branch Jet_pt")
    back = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(back) is MissingBranchError
    assert (back.file, back.cause) == (error.file, error.cause)
    assert str(back) == str(error)


def test_a_column_without_a_type_stays_as_it_is() -> None:
    """`Config.columns` says so: None takes a branch's own type."""
    arrays = {"Pileup_nPU": ak.Array([3, 4]), "Tau_charge": ak.Array([[1], [-1, 1]])}
    values, offsets = flat_columns(arrays, dict.fromkeys(arrays))
    assert {name: one.dtype for name, one in values.items()} == dict.fromkeys(
        arrays, np.dtype(np.int64)
    )
    assert list(offsets) == ["Tau"]
