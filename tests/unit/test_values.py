from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casa_env.settings import table


def parsed(name: str, raw: object) -> Any:
    """Return the value of a setting of the kind that is tested."""
    return table.parse(table.declared(name), raw)


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
    assert parsed("memory_limit_bytes", raw) == size


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
        parsed("memory_limit_bytes", raw)


@pytest.mark.parametrize("raw", [True, "1", "true", "True", " YES ", "on"])
def test_words_for_true(raw: object) -> None:
    assert parsed("dask_processes", raw) is True


@pytest.mark.parametrize("raw", [False, "0", "false", "No", "off"])
def test_words_for_false(raw: object) -> None:
    assert parsed("dask_processes", raw) is False


@pytest.mark.parametrize("raw", ["", "maybe", 1, 0, 1.0, None, []])
def test_what_is_neither_true_nor_false_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="true or false"):
        parsed("dask_processes", raw)


@pytest.mark.parametrize("raw", ["", "x", "-1", -1, 1.0, True, None, "1.5", "²"])
def test_what_is_no_whole_number_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="whole number"):
        parsed("dask_workers", raw)


@pytest.mark.parametrize("raw", ["", "x", "nan", "inf", "-0.1", True, None, 10**400])
def test_what_is_no_finite_number_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="number"):
        parsed("timeout_s", raw)


@given(st.integers(min_value=0, max_value=2**70))
def test_whole_numbers_make_the_round_trip_through_text(number: int) -> None:
    assert (
        parsed("dask_workers", str(number)) == parsed("dask_workers", number) == number
    )
    assert parsed("memory_limit_bytes", number) == number


@given(st.floats(min_value=0, allow_infinity=False))
def test_numbers_make_the_round_trip_through_text(number: float) -> None:
    assert parsed("timeout_s", repr(number)) == number


@given(st.text())
def test_parsing_text_is_idempotent(raw: str) -> None:
    once = parsed("site_name", raw)
    assert parsed("site_name", once) == once


@given(st.lists(st.text()))
def test_lists_hold_no_empty_text(raw: list[str]) -> None:
    once = parsed("token_hosts", raw)
    assert all(once)
    assert parsed("token_hosts", once) == once


def test_lists_are_written_with_commas_in_variables() -> None:
    assert parsed("token_hosts", "a.org, b.org,") == ("a.org", "b.org")


@pytest.mark.parametrize("raw", [1, ["a", 1], None, {"a": 1}])
def test_what_is_no_list_of_texts_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="list of texts"):
        parsed("token_hosts", raw)


def test_an_empty_path_is_no_path() -> None:
    assert parsed("x509_proxy", "") is None
    assert parsed("x509_proxy", "/x") == parsed("x509_proxy", Path("/x")) == Path("/x")


@pytest.mark.parametrize("raw", [1, None, "a\0b"])
def test_what_is_no_path_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match="expected"):
        parsed("x509_proxy", raw)


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
