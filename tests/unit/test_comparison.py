"""What counts as a difference between two environments."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker

from casa_env.workers.remote import archived, differences
from casa_env.workers.sameness import FOR_PEOPLE, table


def environment(**packages: str) -> dict[str, Any]:
    """Return an environment with these packages."""
    return {
        "python": "3.11.7 CPython",
        "platform": "Linux x86_64",
        "packages": packages,
        "shipped": {},
    }


@pytest.mark.parametrize(
    ("python", "require", "refused"),
    [
        ("3.11.7 CPython", "identical", False),
        ("3.11.9 CPython", "compatible", False),
        ("3.11.9 CPython", "identical", True),
        ("3.12.7 CPython", "compatible", True),
        ("3.11.7 PyPy", "compatible", True),
        ("3.12.7 CPython", "off", False),
    ],
)
def test_another_python_counts_by_its_minor_version(
    python: str, require: str, *, refused: bool
) -> None:
    other = environment() | {"python": python}
    assert bool(differences(environment(), other, require)) == refused


@pytest.mark.parametrize(
    ("theirs", "require", "found"),
    [
        ({"awkward": "2.8"}, "compatible", [("awkward", "2.9", "2.8")]),
        ({}, "compatible", [("awkward", "2.9", "missing")]),
        ({"awkward": "2.9", "more": "1"}, "compatible", []),
        (
            {"awkward": "2.9", "more": "1"},
            "identical",
            [("more", "missing", "1")],
        ),
        ({"awkward": "2.8"}, "off", []),
    ],
)
def test_versions_count_and_what_is_missing_there_but_not_what_is_more(
    theirs: dict[str, str], require: str, found: list[tuple[str, str, str]]
) -> None:
    ours = environment(awkward="2.9")
    assert differences(ours, environment(**theirs), require) == found


def test_what_only_people_look_at_may_be_missing_but_not_differ() -> None:
    ours = environment(jupyterlab="4.5") | {"for_people": ["jupyterlab"]}
    assert differences(ours, environment(), "compatible") == []
    other = environment(jupyterlab="4.4")
    assert differences(ours, other, "compatible") == [("jupyterlab", "4.5", "4.4")]
    assert differences(ours, environment(), "identical")


def test_what_only_people_look_at_is_what_the_lab_adds(repository: Path) -> None:
    def pinned(lock: str, *, here: bool = False) -> set[str]:
        text = (repository / "environment" / f"{lock}.lock").read_text()
        pins = re.findall(r"^([a-z0-9.-]+)==\S+ ?;?([^\\\n]*)", text, re.MULTILINE)
        return {
            name
            for name, marker in pins
            if not (here and marker.strip()) or Marker(marker).evaluate()
        }

    # What a worker has on other systems only, a lab may have on this one.
    there = pinned("worker", here=True)
    assert pinned("lab", here=True) - there <= set(FOR_PEOPLE)
    assert set(FOR_PEOPLE) <= pinned("lab") - there
    assert sorted(FOR_PEOPLE) == FOR_PEOPLE
    assert {"jupyterlab", "dask-labextension"} <= set(FOR_PEOPLE)
    assert {"awkward", "numpy", "coffea", "dask"}.isdisjoint(FOR_PEOPLE)


@given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("12")))
def test_an_environment_never_differs_from_itself(packages: dict[str, str]) -> None:
    ours = environment(**packages)
    assert differences(ours, environment(**packages), "identical") == []
    assert table([("a", "1", "2")]).splitlines()[1].split() == ["a", "1", "2"]


def test_an_archive_follows_names_and_contents_and_has_no_compiled_files(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "package"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "a.py").write_text("x = 1")
    first = archived(folder)
    (folder / "__pycache__" / "a.pyc").write_text("compiled")
    assert archived(folder) == first
    (folder / "a.py").rename(folder / "b.py")
    assert archived(folder) != first
