from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agc.hists.compare import compare
from agc.hists.io import load_histograms, save_histograms
from support.histograms import empty_histograms

Histograms = dict[str, hist.Hist[Any]]
#: The position of ttbar/nominal on the process and variation axes.
NOMINAL = (0, 0)
WEIGHT = 0.25


def counted(counts: list[int], weight: float = WEIGHT) -> Histograms:
    """Histograms with these numbers of events in the first bins of 4j1b."""
    histograms = empty_histograms()
    view = histograms["4j1b"].view()
    view["value"][: len(counts), *NOMINAL] = np.multiply(counts, weight)
    view["variance"][: len(counts), *NOMINAL] = np.multiply(counts, weight**2)
    return histograms


def test_histograms_survive_json_bit_for_bit(
    smooth_histograms: Histograms, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "reference.json"
    save_histograms(smooth_histograms, path)
    loaded = load_histograms(path)
    assert loaded == smooth_histograms
    assert loaded["4j2b"].axes["observable"].label == r"$m_{bjj}$ [GeV]"


@given(
    content=st.lists(
        st.floats(min_value=0, max_value=1e12, allow_subnormal=False),
        min_size=27,
        max_size=27,
    )
)
def test_any_content_survives_flow_included(
    content: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("json") / "reference.json"
    histograms = empty_histograms()
    histograms["4j2b"].view(flow=True)["value"][:, *NOMINAL] = content
    histograms["4j2b"].view(flow=True)["variance"][:, *NOMINAL] = content
    save_histograms(histograms, path)
    assert load_histograms(path) == histograms


def test_other_binnings_survive_too(templates: Histograms, tmp_path: Path) -> None:
    with_flow = hist.Hist(
        hist.axis.Variable([0, 1, 5], name="observable", label="x"),
        *templates["4j1b"].axes[1:],
        storage=hist.storage.Weight(),
    )
    with_flow.fill([0.5, 2, 9], "ttbar", "nominal", weight=3)
    save_histograms({"4j1b": with_flow}, tmp_path / "reference.json")
    loaded = load_histograms(tmp_path / "reference.json")["4j1b"]
    assert loaded.axes["observable"] == with_flow.axes["observable"]
    assert np.array_equal(loaded.view(flow=True), with_flow.view(flow=True))


def test_one_changed_bin_changes_two_lines(tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    save_histograms(counted([3, 5, 4]), before)
    save_histograms(counted([3, 6, 4]), after)
    pairs = list(
        zip(
            before.read_text().splitlines(),
            after.read_text().splitlines(),
            strict=True,
        )
    )
    changed = [a for a, b in pairs if a != b]
    assert len(changed) == 2


def test_the_versions_of_the_libraries_do_not_change_a_reference(
    tmp_path: Path,
) -> None:
    save_histograms(counted([1]), tmp_path / "reference.json")
    assert "version" not in (tmp_path / "reference.json").read_text()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "x"}', '{"4j1b": {"axes": []}}']
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json holds no histograms"):
        load_histograms(path)


def test_equal_histograms_agree(smooth_histograms: Histograms) -> None:
    report = compare(smooth_histograms, smooth_histograms)
    assert report.agree
    assert report.migrations == 0
    assert report.compared == 2 * (4 + 5 * 11 + 2)


def test_the_order_of_additions_does_not_matter() -> None:
    a, b = counted([7, 9]), counted([7, 9], weight=WEIGHT * (1 + 1e-9))
    assert compare(a, b).agree
    assert compare(a, b).migrations == 0


@pytest.mark.parametrize(
    ("found", "migrations"),
    [
        ([10, 21, 29, 40], 2),
        ([11, 19, 30, 40], 2),
        ([11, 19, 29, 41], 4),
        ([10, 20, 31, 39], 2),
    ],
)
def test_an_event_in_the_next_bin_is_counted_and_allowed(
    found: list[int], migrations: int
) -> None:
    report = compare(counted(found), counted([10, 20, 30, 40]))
    assert report.agree, report
    assert report.migrations == migrations


def test_an_event_may_migrate_into_an_empty_bin() -> None:
    assert compare(counted([4, 1]), counted([5, 0])).agree


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        ([10, 21, 30, 40], r"bins 2 to 2 have \+1\.00 events"),
        ([10, 20, 30, 39], r"bins 4 to 4 have -1\.00 events"),
        ([11, 20, 29, 40], r"bins 1 to 1 have \+1\.00 events"),
        ([12, 18, 30, 40], r"bins 1 to 2 differ by up to 2\.00 events"),
    ],
)
def test_other_changes_are_differences(found: list[int], cause: str) -> None:
    report = compare(counted(found), counted([10, 20, 30, 40]))
    assert not report.agree
    assert report.migrations == 0
    assert len(report.differences) == 1
    assert report.compared == 1
    (line,) = report.differences
    assert line.startswith("4j1b/ttbar/nominal: ")
    assert re.search(cause, line), line


def test_an_event_more_is_found_where_there_were_none() -> None:
    report = compare(counted([1]), empty_histograms())
    assert report.differences == (
        "4j1b/ttbar/nominal: bins 1 to 1 have +1.00 events in all",
    )


def test_missing_regions_and_other_axes_are_differences(
    smooth_histograms: Histograms, templates: Histograms
) -> None:
    only_one = {"4j1b": smooth_histograms["4j1b"]}
    assert compare(only_one, smooth_histograms).differences == ("4j2b: expected only",)
    assert compare(smooth_histograms, only_one).differences == ("4j2b: found only",)
    report = compare(only_one, {"4j1b": templates["4j1b"]})
    assert report.differences[0].startswith("4j1b: the axes differ")


def test_the_report_reads_as_text() -> None:
    report = compare(counted([2]), counted([1]))
    assert str(report).splitlines()[0] == (
        "1 histograms compared, 1 differ, 0 bins with migration"
    )
    assert len(str(report).splitlines()) == 2
