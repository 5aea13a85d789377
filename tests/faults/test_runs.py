"""What can happen to a notebook that runs."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

from agc.hists.io import whole
from casa_env.errors import CellError
from casa_env.running import run_notebook

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a notebook; its first cell has the parameters."""

    def write_notebook(*sources: str) -> Path:
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        cells[0].metadata["tags"] = ["parameters"]
        path = tmp_path / "n.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
        return path

    return write_notebook


@pytest.mark.fault("run", "one line of a million characters", "it ends, output kept")
def test_a_long_line_does_not_hang_a_run(write: Write) -> None:
    run = run_notebook(write("print('x' * 1_000_000)"), timeout=120)
    (cell,) = nbformat.read(run.output, as_version=4).cells
    assert cell.outputs[0].text == "x" * 1_000_000 + "\n"


@pytest.mark.fault("run", "sys.exit(0) in a cell", "the run ended well")
def test_an_exit_with_status_0_ends_a_run_well(write: Write) -> None:
    run = run_notebook(write("print('so far')\nimport sys\nsys.exit(0)", "1 / 0"))
    first, second = nbformat.read(run.output, as_version=4).cells
    assert first.outputs[0].text == "so far\n"
    assert second.execution_count is None


@pytest.mark.fault("run", "sys.exit(3) in a cell", "an error that says so")
def test_an_exit_with_another_status_is_an_error(write: Write) -> None:
    with pytest.raises(CellError, match="SystemExit: 3"):
        run_notebook(write("import sys\nsys.exit(3)"))


@pytest.mark.fault("run", "a run dies between two outputs", "a mark says so")
def test_outputs_of_a_run_that_did_not_end_are_marked(write: Write) -> None:
    dies = write("import pathlib\npathlib.Path('results/n/one').touch()", "1 / 0")
    with pytest.raises(CellError):
        run_notebook(dies)
    folder = dies.parent / "results/n"
    assert {p.name for p in folder.iterdir()} == {"UNFINISHED", "n.ipynb", "one"}
    assert "did not come to its end" in (folder / "UNFINISHED").read_text()
    run_notebook(write("print(1)"))
    assert {p.name for p in folder.iterdir()} == {"n.ipynb", "one"}


@pytest.mark.fault("run", "writing an output fails half-way", "the earlier file stays")
def test_an_output_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "results/workspace.json"
    with whole(path) as partial:
        partial.write_text("first")

    def half_of_it() -> None:
        with whole(path) as partial:
            partial.write_text("sec")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        half_of_it()
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.fault("run", "another OUTPUT_FOLDER", "the earlier run's copy stays")
def test_the_copy_goes_with_the_outputs(write: Write) -> None:
    notebook = write("OUTPUT_FOLDER = 'results/a'")
    first = run_notebook(notebook).output
    second = run_notebook(notebook, parameters={"OUTPUT_FOLDER": "b"}).output
    assert first == notebook.parent / "results/a/n.ipynb"
    assert second == notebook.parent / "b/n.ipynb"
    assert first.exists()


@pytest.mark.fault("run", "its folder goes during the run", "copy elsewhere, named")
def test_a_copy_that_cannot_be_written_goes_elsewhere(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spare))
    gone = "import shutil; shutil.rmtree('results'); open('results', 'w').close()"
    with pytest.raises(CellError, match="ZeroDivisionError") as caught:
        run_notebook(write("print('precious')", f"{gone}\n1 / 0"))
    (kept,) = spare.rglob("n.ipynb")
    assert str(kept) in str(caught.value)
    assert "precious" in kept.read_text()


FULL = """
set -e
mount -t tmpfs -o size=256k none "$1"
dd if=/dev/zero of="$1/fill" bs=1k count=400 2>/dev/null || true
"$2" -P -m casa_env run "$3" --output "$1/copy.ipynb" || true
"$2" -P -c 'from casa_env.settings.places import *
import sys, pathlib
print(writable_environment({"HOME": sys.argv[1]})[1])' "$1"
ls -A "$1"
"""


@pytest.mark.fault("run", "a notebook saved with another kernel's name", "tested here")
def test_the_readmes_command_tests_a_notebook_of_any_kernels_name(
    write: Write, repository: Path
) -> None:
    notebook = write("x = 1", "assert x == 1")
    node = nbformat.read(notebook, as_version=4)
    node.metadata["kernelspec"] = {"name": "not-here", "display_name": "Other"}
    nbformat.write(node, notebook)
    for text in ("README.md", "environment/image.md"):
        words = re.search(r"pytest (--nbval\S* )+", (repository / text).read_text())
        assert words
        done = subprocess.run(
            [sys.executable, "-P", "-m", *words[0].split(), notebook.name],
            cwd=notebook.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "2 passed" in done.stdout, text


@pytest.mark.fault("disk", "a full folder, a full home", "refused; another place")
def test_a_full_disk_is_one_that_cannot_be_written(
    write: Write, tmp_path: Path, repository: Path
) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        pytest.skip("only root can mount a small file system")
    full = tmp_path / "full"
    full.mkdir()
    words = ["unshare", "-m", "sh", "-c", FULL, "sh", full, sys.executable]
    ended = subprocess.run(
        [*words, write("1")],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )
    if "mount" in ended.stderr:
        pytest.skip("no file system can be mounted here")
    assert "is full" in ended.stderr
    assert f"{full} cannot be written: caches and state go to" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "fill"
