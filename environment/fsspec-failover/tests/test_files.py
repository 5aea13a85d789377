"""Local files, with nothing installed but fsspec: what is read, and what is said."""

from __future__ import annotations

import ast
import os
import pickle
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

import fsspec_failover
from fsspec_failover import NoSourceError, NothingThereError, report
from fsspec_failover.breakers import BREAKERS


@pytest.fixture(autouse=True)
def fresh_process_state() -> None:
    """Forget which hosts were down, and what was read."""
    BREAKERS.clear()
    report(reset=True)


@pytest.fixture
def present(tmp_path: Path) -> Path:
    file = tmp_path / "present"
    file.write_bytes(b"0123456789")
    return file


def test_where_the_first_is_missing_the_second_is_read(
    present: Path, tmp_path: Path
) -> None:
    url = f"failover://{tmp_path}/missing|{present}"
    with fsspec.open(url) as file:
        assert file.read(4) == b"0123"
        file.seek(-2, 2)
        assert file.read() == b"89"
    with fsspec.open(url, "rt") as text:
        assert text.read() == "0123456789"
    found = report()
    assert found.files == {"this machine": {str(present)}}
    (failover,) = found.failovers
    assert failover.reason == "no such file"


def test_ranges_of_several_files_are_read_at_once(
    present: Path, tmp_path: Path
) -> None:
    path = f"{tmp_path}/missing|{present}"
    system = fsspec.filesystem("failover")
    assert system.cat_ranges([path, path], [0, 5], [2, 7]) == [b"01", b"56"]
    assert system.cat_file(path, -2) == b"89"
    assert system.size(path) == 10
    assert system.exists(path)
    assert not system.isdir(path)
    with pytest.raises(NotImplementedError, match="read-only"):
        system.open(path, "wb")


def test_any_file_system_of_fsspec_is_a_source(tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe("/f", b"in memory")
    with fsspec.open(f"failover://nonsense://f|{tmp_path}/f|memory://f") as file:
        assert file.read() == b"in memory"


def test_a_file_that_is_nowhere_is_not_found(tmp_path: Path) -> None:
    with (
        pytest.raises(NothingThereError, match="There is no file") as caught,
        fsspec.open(f"failover://{tmp_path}/a|{tmp_path}/b"),
    ):
        pass
    assert isinstance(caught.value, FileNotFoundError)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - just made
    assert str(again) == str(caught.value)
    assert not fsspec.filesystem("failover").exists(f"{tmp_path}/a|{tmp_path}/b")


def test_a_source_with_another_file_of_that_name_is_not_mixed_in(
    present: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"012345678")
    system = fsspec.filesystem("failover")
    path = f"{present}|{other}"
    assert system.cat_file(path, 0, 4) == b"0123"
    present.unlink()
    with pytest.raises(NoSourceError, match="9 bytes, but 10 were there before"):
        system.cat_file(path, 4, 8)


SITE = """
import logging

class SiteError(Exception):
    pass

def token_for(url):
    return None

def options_for(url):
    if "guarded" in url:
        raise SiteError("The token expired.\\n  next step: Get a new one.")
    return {"timeout_s": 3.0}
"""

READ = """
import sys, traceback
for name in ("aiohttp", "XRootD", "fsspec_xrootd", "s3fs", "botocore", "casa_env"):
    if name in sys.argv[1].split(","):
        sys.modules[name] = None  # as if it were not installed
import fsspec
try:
    with fsspec.open(sys.argv[2]) as file:
        print(file.read())
except OSError as err:
    traceback.print_exc()
    print(err, repr(err.__cause__), sep="\\n", file=sys.stderr)
"""


def read_elsewhere(
    url: str, *, without: str = "", path: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Read a file in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", READ, without, url],
        env=os.environ | ({"PYTHONPATH": str(path)} if path else {}),
        capture_output=True,
        text=True,
        check=True,
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Make a package that has registered both hooks."""
    info = tmp_path / "site" / "a_site-1.dist-info"
    info.mkdir(parents=True)
    (info.parent / "a_site.py").write_text(SITE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: a-site\nVersion: 1\n")
    hooks = ("token_for = a_site:token_for", "options_for = a_site:options_for")
    (info / "entry_points.txt").write_text(
        "\n".join(["[fsspec_failover]", *hooks]) + "\n"
    )
    return info.parent


def test_without_the_extras_other_sources_are_read(present: Path, site: Path) -> None:
    sources = ("root://127.0.0.1:9//f", "https://127.0.0.1:9/f", "s3://bucket/f")
    without = "aiohttp,XRootD,fsspec_xrootd,s3fs,botocore,casa_env"
    url = fsspec_failover.failover_url(*sources, str(present))
    done = read_elsewhere(url, without=without, path=site)
    assert done.stdout == "b'0123456789'\n"
    url = fsspec_failover.failover_url(*sources)
    done = read_elsewhere(url, without=without, path=site)
    assert "No source delivered s3://bucket/f" in done.stderr
    for extra in ("xrootd", "https", "s3"):
        assert f"not installed: fsspec-failover[{extra}]" in done.stderr


def test_what_a_hook_raises_is_that_sources_failure_and_the_errors_cause(
    present: Path, site: Path
) -> None:
    guarded = "https://127.0.0.1:9/guarded"
    done = read_elsewhere(f"failover://{guarded}|{present}", path=site)
    assert done.stdout == "b'0123456789'\n"
    done = read_elsewhere(f"failover://{present}.none|{guarded}", path=site)
    assert "NoSourceError: No source delivered" in done.stderr
    assert "127.0.0.1:9: The token expired.\n    next step: Get a" in done.stderr
    assert done.stderr.rstrip().splitlines()[-1].startswith("SiteError(")


def test_it_imports_nothing_of_the_site_it_was_made_for() -> None:
    names: set[str] = set()
    for module in Path(str(fsspec_failover.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ImportFrom):
                names.add(str(node.module).partition(".")[0])
            elif isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
    others = names - sys.stdlib_module_names - {"fsspec_failover"}
    assert others == {
        "XRootD",
        "aiohttp",
        "botocore",
        "fsspec",
        "fsspec_xrootd",
        "s3fs",
    }
