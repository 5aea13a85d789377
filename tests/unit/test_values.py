from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casa_env.settings import table


@pytest.mark.parametrize(
    ("raw", "size"),
    [
        (0, 0),
        (123, 123),
        ("123", 123),
        ("2 GB", 2 * 10**9),
        ("2GiB", 2 * 2**30),
        ("2Gi", 2 * 2**30),
        ("1.5 gib", 3 * 2**29),
        ("500 MB", 5 * 10**8),
        ("1k", 1000),
        (" 7 B ", 7),
        ("2147483648", 2**31),
    ],
)
def test_sizes_are_read_as_dask_and_kubernetes_write_them(
    raw: object, size: int
) -> None:
    assert table._size(raw) == size


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "GB",
        "-1 GB",
        "1 XB",
        "1e3",
        "nan",
        -1,
        1.5,
        True,
        None,
        [],
        "9" * 400 + "GB",
    ],
)
def test_what_is_no_size_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="expected a"):
        table._size(raw)


@pytest.mark.parametrize("raw", [True, "1", "true", "True", " YES ", "on"])
def test_words_for_true(raw: object) -> None:
    assert table._boolean(raw) is True


@pytest.mark.parametrize("raw", [False, "0", "false", "No", "off"])
def test_words_for_false(raw: object) -> None:
    assert table._boolean(raw) is False


@pytest.mark.parametrize("raw", ["", "maybe", 1, 0, 1.0, None, []])
def test_what_is_neither_true_nor_false_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="true or false"):
        table._boolean(raw)


@pytest.mark.parametrize("raw", ["", "x", "-1", -1, 1.0, True, None, "1.5", "²"])
def test_what_is_no_whole_number_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        table._integer(raw)


@pytest.mark.parametrize("raw", ["", "x", "nan", "inf", "-0.1", True, None, 10**400])
def test_what_is_no_finite_number_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="number"):
        table._number(raw)


@given(st.integers(min_value=0, max_value=2**70))
def test_whole_numbers_make_the_round_trip_through_text(number: int) -> None:
    assert table._integer(str(number)) == table._integer(number) == number
    assert table._size(number) == number


@given(st.floats(min_value=0, allow_infinity=False))
def test_numbers_make_the_round_trip_through_text(number: float) -> None:
    assert table._number(repr(number)) == number


@given(st.text())
def test_parsing_text_is_idempotent(raw: str) -> None:
    once = table._text(raw)
    assert table._text(once) == once


@given(st.lists(st.text()))
def test_lists_hold_no_empty_text(raw: list[str]) -> None:
    parsed = table._texts(raw)
    assert all(parsed)
    assert table._texts(parsed) == parsed


def test_lists_are_written_with_commas_in_variables() -> None:
    assert table._texts("a.org, b.org,") == ("a.org", "b.org")


@pytest.mark.parametrize("raw", [1, ["a", 1], None, {"a": 1}])
def test_what_is_no_list_of_texts_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="list of texts"):
        table._texts(raw)


def test_an_empty_path_is_no_path() -> None:
    assert table._path("") is None
    assert table._path("/x") == table._path(Path("/x")) == Path("/x")


@pytest.mark.parametrize("raw", [1, None, "a\0b"])
def test_what_is_no_path_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        table._path(raw)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", '"plain"'),
        ("root://cache:1094", '"root://cache:1094"'),
        ("https://alice:pw@host/x", '"https://***@host/x"'),
        ("https://host/x?token=pw", '"https://host/x?***"'),
        ("mysql+pymysql://alice:pw@db/x", '"mysql+pymysql://***@db/x"'),
        (
            "root://c:1094//root://o.org//f?authz=pw",
            '"root://c:1094//root://o.org//f?***"',
        ),
        (("https://a:pw@b", "c"), '["https://***@b", "c"]'),
        (None, '""'),
        (True, "true"),
        (1.5, "1.5"),
    ],
)
def test_values_are_shown_without_what_a_url_hides(value: object, text: str) -> None:
    assert table.shown(value) == text


@given(
    st.text(st.characters(exclude_categories=["Cs"])).filter(lambda t: "://" not in t)
)
def test_text_is_shown_as_toml_reads_it(value: str) -> None:
    assert tomllib.loads(f"x = {table.shown(value)}") == {"x": value}
