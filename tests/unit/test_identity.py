from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from casa_env.workers.sameness import environment_here, environment_info
from support.distributions import install


def test_what_is_installed_is_what_the_standard_library_says() -> None:
    packages = dict(environment_here().packages)
    assert packages["numpy"] == metadata.version("numpy")
    assert packages["pyyaml"] == metadata.version("PyYAML")


def test_the_id_is_the_same_each_time_and_short() -> None:
    assert environment_here().id == environment_here().id
    assert re.fullmatch(r"[0-9a-f]{12}", environment_here().id)


def test_the_order_in_which_distributions_are_found_does_not_matter(
    tmp_path: Path,
) -> None:
    paths = [install(tmp_path / n, n, "1.0") for n in ("zlib-x", "Awkward_Y", "m.n")]
    forward, backward = environment_here(paths), environment_here(paths[::-1])
    assert forward.id == backward.id
    assert [name for name, _ in forward.packages] == ["awkward-y", "m-n", "zlib-x"]


@pytest.mark.parametrize("change", [("a", "1.1"), ("b", "1.0")])
def test_another_version_or_one_package_more_is_another_id(
    change: tuple[str, str], tmp_path: Path
) -> None:
    before = environment_here([install(tmp_path / "1", "a", "1.0")])
    paths = [install(tmp_path / "2", *change)]
    if change[0] != "a":
        paths.append(install(tmp_path / "3", "a", "1.0"))
    assert environment_here(paths).id != before.id


def test_of_two_versions_the_one_that_import_finds_counts(tmp_path: Path) -> None:
    paths = [install(tmp_path / "1", "a", "1.0"), install(tmp_path / "2", "a", "2.0")]
    assert environment_here(paths).packages == (("a", "1.0"),)


def test_a_folder_left_behind_by_a_failed_removal_is_passed_over(
    tmp_path: Path,
) -> None:
    path = install(tmp_path, "a", "1.0")
    (tmp_path / "broken-1.0.dist-info").mkdir()
    assert environment_here([path]).packages == (("a", "1.0"),)


def test_the_report_is_a_markdown_list_with_everything(tmp_path: Path) -> None:
    here = environment_here([install(tmp_path, "a", "1.0")])
    lines = environment_info(here).splitlines()
    assert lines[0] == f"* environment: {here.id}"
    assert lines[-1] == "    * a: 1.0"
    assert all(re.match(r"( {4})?\* \S+:", line) for line in lines)
