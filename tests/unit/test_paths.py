from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casa_env.errors import PathsError
from casa_env.settings.places import PLACES, can_write, writable_environment

#: A place that refuses root, too: permission bits do not.
CLOSED = Path("/proc/nonexistent/home")


@pytest.fixture
def open_tmp(tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "scratch space"
    folder.mkdir()
    return {"TMPDIR": str(folder)}


def test_an_ordinary_home_directory_changes_nothing(clean_environment: Path) -> None:
    assert writable_environment({"HOME": str(clean_environment)}) == ({}, "")


def test_looking_leaves_no_file_behind(clean_environment: Path) -> None:
    writable_environment({"HOME": str(clean_environment)})
    assert list(clean_environment.iterdir()) == []


def test_a_home_that_cannot_be_written_moves_everything(
    open_tmp: dict[str, str],
) -> None:
    extra, reason = writable_environment({"HOME": str(CLOSED), **open_tmp})

    target = Path(open_tmp["TMPDIR"]) / f"casa-env-{os.getuid()}"
    assert set(extra) == set(PLACES)
    assert all(Path(path).is_relative_to(target) for path in extra.values())
    assert len(set(extra.values())) == len(extra)
    assert reason == f"{CLOSED} cannot be written: caches and state go to {target}"
    assert stat.S_IMODE(target.stat().st_mode) == 0o700


def test_a_home_that_is_a_file_moves_everything(
    tmp_path: Path, open_tmp: dict[str, str]
) -> None:
    home = tmp_path / "home"
    home.write_text("")
    extra, _ = writable_environment(open_tmp, home=home)
    assert set(extra) == set(PLACES)


def test_a_fallback_is_preferred_and_made(
    tmp_path: Path, open_tmp: dict[str, str]
) -> None:
    fallback = tmp_path / "clone" / ".cache"
    extra, reason = writable_environment(
        {"HOME": str(CLOSED), **open_tmp}, fallback=fallback
    )
    assert extra["XDG_CACHE_HOME"] == str(fallback / "cache")
    assert reason.endswith(str(fallback))
    assert fallback.is_dir()


def test_a_fallback_that_cannot_be_written_is_passed_over(
    open_tmp: dict[str, str],
) -> None:
    extra, _ = writable_environment({"HOME": str(CLOSED), **open_tmp}, fallback=CLOSED)
    assert extra["XDG_CACHE_HOME"].startswith(open_tmp["TMPDIR"])


def test_only_the_places_that_cannot_be_written_move(
    clean_environment: Path, open_tmp: dict[str, str]
) -> None:
    environ = {
        "HOME": str(clean_environment),
        "XDG_CACHE_HOME": str(CLOSED),
        **open_tmp,
    }
    extra, reason = writable_environment(environ)
    assert set(extra) == {"XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "UV_CACHE_DIR"}
    assert reason.startswith(f"{CLOSED} cannot be written")


def test_what_the_user_chose_and_can_be_written_stays(
    tmp_path: Path, open_tmp: dict[str, str]
) -> None:
    environ = {"HOME": str(CLOSED), "MPLCONFIGDIR": str(tmp_path), **open_tmp}
    extra, _ = writable_environment(environ)
    assert set(extra) == set(PLACES) - {"MPLCONFIGDIR"}


def test_the_result_of_one_call_settles_the_next(open_tmp: dict[str, str]) -> None:
    environ = {"HOME": str(CLOSED), **open_tmp}
    extra, _ = writable_environment(environ)
    assert writable_environment({**environ, **extra}) == ({}, "")


def test_a_folder_that_others_can_enter_is_not_used(open_tmp: dict[str, str]) -> None:
    planted = Path(open_tmp["TMPDIR"]) / f"casa-env-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    extra, _ = writable_environment({"HOME": str(CLOSED), **open_tmp})
    made = Path(extra["XDG_CACHE_HOME"]).parent
    assert made != planted
    assert stat.S_IMODE(made.stat().st_mode) == 0o700


def test_a_link_planted_in_the_temporary_folder_is_not_followed(
    tmp_path: Path, open_tmp: dict[str, str]
) -> None:
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    planted = Path(open_tmp["TMPDIR"]) / f"casa-env-{os.getuid()}"
    planted.symlink_to(target)
    extra, _ = writable_environment({"HOME": str(CLOSED), **open_tmp})
    made = Path(extra["XDG_CACHE_HOME"]).parent
    assert made.parent == planted.parent
    assert made != planted


def test_no_place_at_all_is_one_clear_error() -> None:
    with pytest.raises(PathsError) as caught:
        writable_environment({"HOME": str(CLOSED), "TMPDIR": "/proc"})
    assert "/proc/casa-env-" in caught.value.looked_at
    assert "TMPDIR" in caught.value.next_step


@given(
    st.dictionaries(st.sampled_from([*PLACES, "XDG_CONFIG_HOME"]), st.just("/proc/x"))
)
def test_every_place_that_is_closed_is_named_and_the_input_unchanged(
    environ: dict[str, str],
) -> None:
    before = dict(environ)
    extra, reason = writable_environment(environ)
    assert environ == before
    assert set(environ) & set(PLACES) <= set(extra)
    assert bool(extra) == bool(reason)


def test_writing_is_tried_and_not_guessed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert can_write(tmp_path)
    assert not can_write(file)
    assert not can_write(tmp_path / "missing")
    assert not can_write(Path("/proc"))
