"""Where files are read from: pure, so by tables and by hypothesis."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from coffea.dataset_tools.filespec import DataGroupSpec
from coffea.processor.executor import WorkItem
from hypothesis import given
from hypothesis import strategies as st

from casa_env.data.xcache import files_of, xcache_fileset, xcache_url
from casa_env.settings import Settings
from fsspec_failover import sources

FORWARDING = Settings(xcache_url="root://cache:1094")
FIXED = Settings(xcache_url="root://cache:1094/", xcache_mode="fixed")
ORIGIN = "root://origin//store/f.root"


@pytest.mark.parametrize(
    ("url", "forwarding", "fixed"),
    [
        (ORIGIN, f"root://cache:1094//{ORIGIN}", "root://cache:1094//store/f.root"),
        (
            "root://u@origin:2094//s/f.root?x=1",
            "root://cache:1094//root://u@origin:2094//s/f.root?x=1",
            "root://cache:1094//s/f.root?x=1",
        ),
        (
            "xroot://origin//f.root",
            "root://cache:1094//xroot://origin//f.root",
            "root://cache:1094//f.root",
        ),
        *(
            (url, url, url)
            for url in (
                "data/f.root",
                "/data/f.root",
                "file:///data/f.root",
                "https://origin:1094//store/f.root",
                "http://origin/f.root",
                "s3://bucket/f.root",
                "root://cache:1094//store/f.root",
                "root://cache//store/f.root",
                "root:///no/host.root",
                "root://[bad",
                "",
            )
        ),
    ],
)
def test_a_url_is_read_through_the_cache(url: str, forwarding: str, fixed: str) -> None:
    assert xcache_url(url, FORWARDING) == forwarding
    assert xcache_url(url, FIXED) == fixed
    assert xcache_url(url, Settings()) == url
    assert xcache_url(url, Settings(), failover=True) == url


def test_with_failover_a_url_names_all_sources_in_order() -> None:
    settings = replace(FORWARDING, xcache_fallbacks=("root://second", "root://third"))
    url = xcache_url(ORIGIN, settings, failover=True)
    assert sources(url) == (
        f"root://cache:1094//{ORIGIN}",
        f"root://second//{ORIGIN}",
        f"root://third//{ORIGIN}",
        ORIGIN,
    )
    assert xcache_url("/data/f.root", settings, failover=True) == "/data/f.root"


def test_listed_https_origins_are_read_through_the_cache_and_else_by_https() -> None:
    settings = replace(FORWARDING, xcache_https_origins=("origin:1094",))
    url = "https://origin:1094//store/f.root"
    cached = "root://cache:1094//root://origin:1094//store/f.root"
    assert xcache_url(url, settings) == cached
    assert sources(xcache_url(url, settings, failover=True)) == (cached, url)
    other = "https://origin:443//store/f.root"
    assert xcache_url(other, settings) == other


@pytest.mark.parametrize(
    ("settings", "url", "ours"),
    [
        (Settings(token_hosts=("a",)), "https://b/f.root", True),
        (Settings(token_hosts=("a",)), "root://b//f.root", True),
        (Settings(s3_endpoint="https://s3"), "s3://b/f.root", True),
        (Settings(s3_endpoint="https://s3"), "https://b/f.root", False),
        (Settings(token_hosts=("a",)), "/data/f.root", False),
        (Settings(), "https://b/f.root", False),
    ],
)
def test_what_the_site_has_rules_for_is_read_by_our_file_system(
    settings: Settings,
    url: str,
    ours: bool,  # noqa: FBT001 - a table
) -> None:
    expected = f"failover://{url}" if ours else url
    assert xcache_url(url, settings, failover=True) == expected


URLS = st.one_of(
    st.text(max_size=20),
    st.builds(
        "{}://{}//{}".format,
        st.sampled_from(["root", "xroot", "https", "s3", "file", "failover"]),
        st.sampled_from(["origin", "cache", "cache:1094", "u@o:1", "[::1]:2", "[x"]),
        st.text("abc/.?=&|:", max_size=12),
    ),
)
PLACES = st.sampled_from(
    [FORWARDING, FIXED, Settings(), replace(FIXED, xcache_fallbacks=("root://two",))]
)


@given(URLS, PLACES, st.booleans())
def test_doing_it_again_changes_nothing(
    url: str,
    settings: Settings,
    failover: bool,  # noqa: FBT001 - generated
) -> None:
    once = xcache_url(url, settings, failover=failover)
    assert xcache_url(once, settings, failover=failover) == once


HERE = f"root://cache:1094//{ORIGIN}"
SHAPES: list[tuple[Any, Any]] = [
    ({"x": [ORIGIN]}, {"x": [HERE]}),
    ({"x": {ORIGIN: "Events"}}, {"x": {HERE: "Events"}}),
    (
        {"x": {"files": [ORIGIN], "treename": "Events", "metadata": {"a": 1}}},
        {"x": {"files": [HERE], "treename": "Events", "metadata": {"a": 1}}},
    ),
    (
        {"x": {"files": {ORIGIN: "Events"}, "nevts": {ORIGIN: 7}}},
        {"x": {"files": {HERE: "Events"}, "nevts": {HERE: 7}}},
    ),
    (
        {"x": {"files": {ORIGIN: {"object_path": "E", "steps": [[0, 5]]}}}},
        {"x": {"files": {HERE: {"object_path": "E", "steps": [[0, 5]]}}}},
    ),
    ({}, {}),
    ("fileset.json", "fileset.json"),
]


@pytest.mark.parametrize(("fileset", "expected"), SHAPES)
def test_every_shape_of_fileset_keeps_its_shape(fileset: Any, expected: Any) -> None:
    before = copy.deepcopy(fileset)
    assert xcache_fileset(fileset, FORWARDING) == expected
    assert xcache_fileset(expected, FORWARDING) == expected
    assert fileset == before
    assert xcache_fileset(fileset, Settings()) == before


def test_coffeas_own_descriptions_of_files_are_taken_too() -> None:
    files = {ORIGIN: {"object_path": "Events"}}
    group = DataGroupSpec({"x": {"files": files, "metadata": {"a": 1}}})
    new = xcache_fileset(group, FORWARDING)
    assert type(new) is type(group)
    assert list(new["x"].files) == [HERE]
    assert new["x"].metadata == {"a": 1}
    assert list(group["x"].files) == [ORIGIN]
    spec = xcache_fileset({"x": group["x"]}, FORWARDING)["x"]
    assert list(spec.files) == [HERE]


def test_work_items_are_taken_too() -> None:
    item = WorkItem("x", ORIGIN, "Events", 0, 5, "uuid")
    (new,) = xcache_fileset([item], FORWARDING)
    assert (new.filename, new.entrystop) == (HERE, 5)


@pytest.mark.parametrize("fileset", [shape for shape, _ in SHAPES[:5]])
def test_the_files_of_every_shape_are_found(fileset: Any) -> None:
    assert files_of(fileset) == [("x", ORIGIN)]


def test_the_files_of_coffeas_own_shapes_are_found() -> None:
    group = DataGroupSpec({"x": {"files": {ORIGIN: {"object_path": "Events"}}}})
    assert files_of(group) == files_of({"x": group["x"]}) == [("x", ORIGIN)]
    assert files_of([WorkItem("x", ORIGIN, "Events", 0, 5, "uuid")]) == [("x", ORIGIN)]
    assert files_of([ORIGIN]) == [("", ORIGIN)]
    assert files_of("fileset.json") == files_of({}) == []
