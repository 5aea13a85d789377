"""Trees that are described in part, and files that stay open for their next piece."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from agc.errors import MissingBranchError, UnreadableFileError
from agc.inputs.rootfiles import load_arrays, opened_tree
from support.webservers import listening_website

FLAGS = [f"HLT_{i}" for i in range(60)]
LISTS = [f"{name}_{i}" for i in range(20) for name in ("Jet", "Muon")]


def write(path: Path, *, seed: int = 1, n: int = 50) -> Path:
    rng = np.random.default_rng(seed)
    counts = {name: rng.integers(0, 4, n) for name in ("Jet", "Muon")}
    arrays: dict[str, Any] = {
        name: ak.zip(
            {str(i): ak.unflatten(rng.random(sizes.sum()), sizes) for i in range(20)}
        )
        for name, sizes in counts.items()
    }
    arrays |= {name: rng.random(n) < 0.5 for name in FLAGS}
    with uproot.recreate(path) as file:
        types = {
            name: array.type.content if isinstance(array, ak.Array) else array.dtype
            for name, array in arrays.items()
        }
        file.mktree("Events", types).extend(arrays)
    return path


def assert_alone_as_together(path: Path, names: list[str]) -> None:
    with uproot.open(path) as file:
        every = {name: file["Events"][name].array() for name in names}
    for name, expected in every.items():
        found = load_arrays(str(path), "Events", {name: None})[0][name]
        assert found.type == expected.type, name
        assert ak.array_equal(found, expected, equal_nan=True), name


def test_a_branch_is_the_same_when_no_other_is_described(tmp_path: Path) -> None:
    assert_alone_as_together(write(tmp_path / "wide.root"), [*LISTS, *FLAGS[::10]])


def test_a_branch_of_real_nanoaod_is_the_same_alone(shared_data: Path) -> None:
    path = shared_data / "cms-open-data-2015" / "nanoAOD_2015_CMS_Open_Data_ttbar.root"
    with uproot.open(path) as file:
        names = file["Events"].keys()
    assert len(names) == 947
    # every class of leaf, lists with and without their counter before them
    assert_alone_as_together(path, names[::13])


def test_branches_that_nobody_asked_for_are_not_built(tmp_path: Path) -> None:
    path = str(write(tmp_path / "wide.root"))
    with opened_tree(path, "Events", ["Jet_3", "HLT_5"]) as (tree, _):
        assert tree.num_entries == 50
        assert set(tree.keys()) == {"Jet_3", "HLT_5"}
    with pytest.raises(MissingBranchError, match="no branch Jet_99"):
        load_arrays(path, "Events", {"Jet_3": None, "Jet_99": None})


def pieces(url: str) -> ak.Array:
    """Read a file in five pieces."""
    return ak.concatenate(
        [
            load_arrays(
                url, "Events", {"Jet_3": None}, entry_start=start, entry_stop=start + 10
            )[0]["Jet_3"]
            for start in range(0, 50, 10)
        ]
    )


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which files uproot opens."""
    calls: list[str] = []
    really = uproot.open

    def open_and_note(files: dict[str, None], **options: Any) -> Any:
        calls.extend(files)
        return really(files, **options)

    monkeypatch.setattr(uproot, "open", open_and_note)
    return calls


def test_a_file_is_opened_once_for_all_of_its_pieces(
    tmp_path: Path, opened: list[str]
) -> None:
    path = str(write(tmp_path / "wide.root"))
    whole = load_arrays(path, "Events", {"Jet_3": None})[0]["Jet_3"]
    assert ak.array_equal(pieces(path), whole)
    assert opened == [path]


def test_a_file_that_changed_meanwhile_is_opened_again(
    tmp_path: Path, opened: list[str]
) -> None:
    path = tmp_path / "wide.root"
    for seed in (1, 2, 3):
        write(tmp_path / "new.root", seed=seed).replace(path)
        found = load_arrays(str(path), "Events", {"HLT_1": None})[0]["HLT_1"]
        with uproot.open({str(path): "Events"}) as tree:
            assert ak.array_equal(found, tree["HLT_1"].array())
    assert len(opened) == 2 * 3
    path.unlink()
    with pytest.raises(Exception, match="there is no such file"):
        load_arrays(str(path), "Events", {"HLT_1": None})


def test_few_files_stay_open(tmp_path: Path, opened: list[str]) -> None:
    paths = [str(write(tmp_path / f"{i}.root")) for i in range(6)]
    for path in [*paths, paths[-1], paths[0]]:
        load_arrays(path, "Events", {"HLT_1": None})
    assert opened == [*paths, paths[0]]


def test_a_file_on_a_server_is_opened_once_and_again_when_it_changed(
    tmp_path: Path, opened: list[str]
) -> None:
    content = bytearray()
    with listening_website(content=content) as (website, requests):
        url = f"{website}/wide.root"
        for seed in (1, 2):
            content[:] = write(tmp_path / f"{seed}.root", seed=seed).read_bytes()
            expected = load_arrays(f"{tmp_path}/{seed}.root", "Events", {"Jet_3": None})
            del opened[:], requests[:]
            for _ in range(2):
                assert ak.array_equal(pieces(url), expected[0]["Jet_3"])
            assert opened == [url], "once for ten pieces"
            looks = [one["range"] for one in requests].count("bytes=0-402")
            # each piece looks whether it is the same file, the first to open it, too
            assert looks == {1: 10, 2: 11}[seed]
        content[:] = b"this is no ROOT file" * 100
        with pytest.raises(UnreadableFileError, match="cannot be opened"):
            pieces(url)
