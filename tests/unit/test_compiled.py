"""The cache of compiled code: shared, never stale, and no obstacle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

#: Prints a number that both modules decide, and whether compiled code was loaded.
PROGRAM = """
from agc.area import area
print(area(2.0), sum(area.stats.cache_hits.values()))
"""


def run(folder: Path, **environ: str) -> tuple[float, int]:
    done = subprocess.run(
        [sys.executable, "-B", "-c", PROGRAM],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    value, hits = done.stdout.split()
    return float(value), int(hits)


@pytest.fixture
def package(repository: Path, tmp_path: Path) -> Path:
    """Make a package whose compiled function depends on another module."""
    folder = tmp_path / "project"
    agc = folder / "agc"
    agc.mkdir(parents=True)
    (agc / "__init__.py").touch()
    shutil.copy(repository / "notebooks" / "agc" / "compiled.py", agc)
    (agc / "numbers.py").write_text("PI = 3.0\n")
    (agc / "area.py").write_text(
        "from agc.compiled import compiled\n"
        "from agc.numbers import PI\n"
        "@compiled\n"
        "def area(r):\n"
        "    return PI * r * r\n"
    )
    return folder


def compiled_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("**/*.nb?"))


def test_the_second_process_compiles_nothing(package: Path) -> None:
    assert run(package) == (12.0, 0)
    assert compiled_files(package / "agc" / "__pycache__")
    assert run(package) == (12.0, 1)


def test_a_constant_of_another_module_makes_compiled_code_stale(package: Path) -> None:
    run(package)
    (package / "agc" / "numbers.py").write_text("PI = 3.5\n")
    assert run(package) == (14.0, 0)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "is cut in half": lambda content: content[: len(content) // 2],
    "is empty": lambda _: b"",
    "is noise": lambda content: bytes(255 - x for x in content),
}
FLIPPED = {
    "has one byte changed": lambda content: (
        content[:-500] + bytes([content[-500] ^ 1]) + content[-499:]
    )
}


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        pytest.param(
            file, damage, marks=pytest.mark.fault("compiled code", what, "made anew")
        )
        for file, damages in {".nbi": DAMAGES, ".nbc": DAMAGES | FLIPPED}.items()
        for what, damage in damages.items()
    ],
)
def test_a_damaged_cache_is_made_anew(
    package: Path, file: str, damage: Callable[[bytes], bytes]
) -> None:
    run(package)
    (path,) = (f for f in compiled_files(package) if f.suffix == file)
    path.write_bytes(damage(path.read_bytes()))
    assert run(package) == (12.0, 0)
    assert run(package) == (12.0, 1)


def test_a_module_that_does_not_matter_does_not(package: Path) -> None:
    run(package)
    (package / "agc" / "plots.py").write_text("COLOUR = 'red'\n")
    assert run(package) == (12.0, 1)


def test_the_users_own_folder_comes_first(package: Path, tmp_path: Path) -> None:
    run(package, NUMBA_CACHE_DIR=str(tmp_path / "mine"))
    assert compiled_files(tmp_path / "mine")
    assert not compiled_files(package)


def test_without_any_writable_place_but_the_temporary_one_it_works(
    package: Path, tmp_path: Path
) -> None:
    (package / "agc" / "__pycache__").touch()  # a file where a folder would be
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    closed = {"HOME": os.devnull, "NUMBA_CACHE_DIR": os.devnull}
    assert run(package, TMPDIR=str(temporary), **closed) == (12.0, 0)
    assert run(package, TMPDIR=str(temporary), **closed) == (12.0, 1)


@pytest.fixture
def read_only(package: Path, tmp_path: Path) -> Iterator[Path]:
    """Put the package, compiled, on a file system that cannot be written."""
    image = tmp_path / "image"
    image.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "casa-test", str(image)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a file system can be mounted by root only")
    try:
        shutil.copytree(package, image / "project")
        run(image / "project")
        subprocess.run(["mount", "-o", "remount,ro", str(image)], check=True)
        yield image / "project"
    finally:
        subprocess.run(["umount", str(image)], check=True)


def test_a_read_only_cache_is_used(read_only: Path, clean_environment: Path) -> None:
    assert run(read_only) == (12.0, 1)
    assert compiled_files(clean_environment / ".cache" / "casa-env")
    # and with nowhere to keep a copy but the temporary folder
    assert run(read_only, HOME=os.devnull) == (12.0, 1)


def test_processes_that_compile_at_once_all_succeed(package: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-B", "-c", PROGRAM],
            cwd=package,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.split()[0] == "12.0"
    assert run(package) == (12.0, 1)
