from __future__ import annotations

import pytest

from fsspec_failover.urls import failover_url, host_of, shown, sources


def test_a_url_names_its_sources_in_order() -> None:
    url = failover_url("root://cache//f", "https://origin/f", "/data/f")
    assert url == "failover://root://cache//f|https://origin/f|/data/f"
    assert sources(url) == ("root://cache//f", "https://origin/f", "/data/f")
    assert sources("/data/f") == ("/data/f",)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("root://origin//f", "origin:1094"),
        ("xroot://origin//f", "origin:1094"),
        ("https://u:p@origin/f", "origin:443"),
        ("https://u:p@origin:port/f", "https://origin:port"),
        ("s3://bucket/f", "s3://bucket"),
        ("/data/f", "this machine"),
    ],
)
def test_a_source_is_named_by_its_host_and_port(url: str, host: str) -> None:
    assert host_of(url) == host


def test_what_a_url_hides_is_not_shown() -> None:
    assert shown("https://u:p@origin/f?authz=x") == "https://***@origin/f?***"
    assert shown("root://cache//root://u@o//f") == "root://cache//root://***@o//f"
