from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from casa_env.errors import CellError, NotebookError, PathsError
from casa_env.running import Progress, run_notebook

Write = Callable[..., Path]


def code(source: str, *tags: str) -> NotebookNode:
    cell: NotebookNode = nbformat.v4.new_code_cell(source, metadata={"tags": [*tags]})
    return cell


def text(source: str) -> NotebookNode:
    cell: NotebookNode = nbformat.v4.new_markdown_cell(source)
    return cell


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a notebook of these cells, and names it."""

    def write_notebook(*cells: NotebookNode, name: str = "my study.ipynb") -> Path:
        folder = tmp_path / "a folder"
        folder.mkdir(exist_ok=True)
        path = folder / name
        nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
        return path

    return write_notebook


def default_output(notebook: Path) -> Path:
    return notebook.parent / "results" / notebook.stem / notebook.name


def stdout(path: Path) -> str:
    """Return what all cells of a notebook printed."""
    node = nbformat.read(path, as_version=4)
    return "".join(
        output.text
        for cell in node.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stdout"
    )


def test_outputs_are_kept_in_a_copy_and_the_notebook_is_left_alone(
    write: Write,
) -> None:
    notebook = write(code("x = 41"), code("print(x + 1)"))
    before = notebook.read_bytes()

    run = run_notebook(notebook)

    assert run.output == notebook.parent / "results" / "my study" / "my study.ipynb"
    assert stdout(run.output) == "42\n"
    assert notebook.read_bytes() == before
    assert [p.name for p in run.output.parent.iterdir()] == ["my study.ipynb"]
    nbformat.validate(nbformat.read(run.output, as_version=4))


def test_the_kernel_is_this_python_whatever_kernels_are_installed(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))  # comes first
    spec = tmp_path / "kernels" / "python3"
    spec.mkdir(parents=True)
    (spec / "kernel.json").write_text(
        '{"argv": ["/bin/false"], "display_name": "Wrong", "language": "python"}'
    )
    notebook = write(code("import sys; print(sys.executable, end='')"))
    assert stdout(run_notebook(notebook).output) == sys.executable


def test_the_kernel_works_in_the_notebooks_folder_and_imports_from_it(
    write: Write,
) -> None:
    notebook = write(code("import beside, os\nprint(beside.X, os.getcwd(), end='')"))
    (notebook.parent / "beside.py").write_text("X = 1")
    assert stdout(run_notebook(notebook).output) == f"1 {notebook.parent}"


def test_worker_processes_import_what_lies_beside_the_notebook(
    write: Write, repository: Path
) -> None:
    notebook = write(
        code("from casa_env import dask_client\nfrom agc import double"),
        code(
            "with dask_client(workers=1) as client:\n"
            "    print(client.submit(double, 21).result(), end='')"
        ),
    )
    (notebook.parent / "agc").mkdir()
    (notebook.parent / "agc" / "__init__.py").write_text("def double(x): return 2 * x")
    environ = os.environ | {"PYTHONPATH": str(repository)}
    assert stdout(run_notebook(notebook, environ=environ).output) == "42"


def test_parameters_and_the_profile_reach_the_kernel(write: Write) -> None:
    notebook = write(
        code("N = 1", "parameters"),
        code("import os\nprint(N, os.environ['CASA_ENV_PROFILE'], end='')"),
    )
    run = run_notebook(notebook, parameters={"N": 5}, profile="batch")
    assert stdout(run.output) == "5 batch"


def test_the_summary_is_what_the_tagged_cells_printed(write: Write) -> None:
    notebook = write(
        code("print('not this')"),
        code(
            "import sys\nprint('norm = 1.0')\nprint('nor this', file=sys.stderr)",
            "summary",
        ),
        code("print('fit ok')", "summary"),
    )
    assert run_notebook(notebook).summary == "norm = 1.0\nfit ok\n"


def test_progress_tells_cell_label_and_last_line(write: Write) -> None:
    notebook = write(
        text("# Title\ntext\n## Loop"),
        code(
            "import sys, time\n"
            "for i in range(4):\n"
            "    print(f'\\r{i}/3', end='', file=sys.stderr, flush=True)\n"
            "    time.sleep(0.25)"
        ),
        code(""),
        code("# fit the model\nx = 1"),
    )
    steps: list[Progress] = []
    run_notebook(notebook, report=steps.append)

    assert {(s.number, s.total, s.label) for s in steps} == {
        (1, 2, "Loop"),
        (2, 2, "fit the model"),
    }
    assert [s.number for s in steps if s.done] == [1, 2]
    lines = [s.line for s in steps if s.number == 1 and s.line]
    assert "1/3" in lines
    assert lines[-1] == "3/3"
    assert [s.number for s in steps if not s.seconds and not s.done] == [1, 2]


def test_a_failing_cell_is_shown_and_the_outputs_before_it_are_kept(
    write: Write,
) -> None:
    notebook = write(code("print('before')"), code("# divide\n1 / 0"), code("print(3)"))
    with pytest.raises(CellError) as caught:
        run_notebook(notebook)
    error = caught.value
    assert (
        error.what == "Cell 2 of 3 (divide) failed: ZeroDivisionError: division by zero"
    )
    assert error.source == "# divide\n1 / 0"
    assert "ZeroDivisionError" in error.traceback
    assert str(default_output(notebook)) in error.looked_at
    assert stdout(default_output(notebook)) == "before\n"
    failed = nbformat.read(default_output(notebook), as_version=4).cells[1]
    assert failed.outputs[0].ename == "ZeroDivisionError"


@pytest.mark.fault("run", "a run fails after a good one", "no outputs of the earlier")
def test_outputs_of_an_earlier_run_do_not_survive_a_failure(write: Write) -> None:
    stale = code("print('new')")
    stale.outputs = [nbformat.v4.new_output("stream", name="stdout", text="stale")]
    with pytest.raises(CellError):
        run_notebook(notebook := write(code("1 / 0"), stale))
    assert stdout(default_output(notebook)) == ""


@pytest.mark.fault("run", "the kernel is killed", "an error that says so")
@pytest.mark.parametrize(
    ("source", "death"),
    [
        ("import os\nprint('last', flush=True)\nos._exit(3)", "exited with status 3"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "memory runs out"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "by SIGSEGV"),
    ],
)
def test_a_kernel_that_dies_is_a_clear_error_and_no_hang(
    source: str, death: str, write: Write
) -> None:
    began = time.monotonic()
    with pytest.raises(NotebookError, match=death) as caught:
        run_notebook(write(code("x = 1"), code(source)))
    assert caught.value.kind == "kernel"
    assert "Cell 2" in caught.value.what or "cell 2 of 2" in caught.value.what
    assert time.monotonic() - began < 60


@pytest.mark.fault("run", "the kernel does not start", "an error that says so")
def test_a_kernel_that_does_not_start_is_a_clear_error(write: Write) -> None:
    environ = os.environ | {"PYTHONHOME": "/nonexistent"}
    with pytest.raises(NotebookError, match="did not start") as caught:
        run_notebook(write(code("x = 1")), environ=environ)
    assert caught.value.kind == "kernel"
    # what the process itself has said last
    assert "Python" in caught.value.next_step.splitlines()[-1]


@pytest.mark.fault("run", "a cell that never ends", "stopped in time, and named")
def test_a_notebook_that_takes_too_long_is_stopped_and_its_cell_named(
    write: Write,
) -> None:
    notebook = write(code("x = 1"), code("# wait\nimport time\ntime.sleep(600)"))
    with pytest.raises(NotebookError, match=r"cell 2 of 2 \(wait\)") as caught:
        run_notebook(notebook, timeout=5)
    assert caught.value.kind == "timeout"
    interrupted = nbformat.read(default_output(notebook), as_version=4).cells[1]
    assert interrupted.outputs[-1].ename == "KeyboardInterrupt"


@pytest.mark.fault("run", "a read-only home", "the run works")
def test_a_read_only_home_directory_is_worked_around(
    write: Write, tmp_path: Path
) -> None:
    notebook = write(code("import os\nprint(os.environ['IPYTHONDIR'], end='')"))
    environ = os.environ | {"HOME": "/proc/nonexistent", "TMPDIR": str(tmp_path)}
    assert stdout(run_notebook(notebook, environ=environ).output).startswith(
        str(tmp_path)
    )


@pytest.mark.fault("run", "no place can be written", "an error before it runs")
def test_no_place_for_caches_is_an_error_before_anything_runs(write: Write) -> None:
    environ = os.environ | {"HOME": "/proc/nonexistent", "TMPDIR": "/proc"}
    with pytest.raises(PathsError):
        run_notebook(write(code("x = 1")), environ=environ)


def test_a_notebook_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotebookError, match="No such file") as caught:
        run_notebook(tmp_path / "none.ipynb")
    assert caught.value.looked_at == str(tmp_path / "none.ipynb")


@pytest.mark.fault("run", "a file that is no notebook", "refused, and named")
@pytest.mark.parametrize("content", ["", "x = 1", "{}", "[]", '{"cells": 3}', "\x00"])
def test_what_is_no_notebook_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(content)
    with pytest.raises(NotebookError, match="not a Jupyter notebook"):
        run_notebook(path)


def test_a_notebook_in_another_language_is_refused(write: Write) -> None:
    notebook = write(code("x <- 1"))
    node = nbformat.read(notebook, as_version=4)
    node.metadata["kernelspec"] = {"name": "ir", "display_name": "R", "language": "R"}
    nbformat.write(node, notebook)
    with pytest.raises(NotebookError, match="written in R"):
        run_notebook(notebook)


def test_the_notebook_itself_is_never_the_output(write: Write) -> None:
    notebook = write(code("x = 1"))
    with pytest.raises(NotebookError, match="the notebook itself"):
        run_notebook(notebook, output=notebook)


def test_an_output_that_cannot_be_written_is_refused_before_anything_runs(
    write: Write, tmp_path: Path
) -> None:
    mark = tmp_path / "ran"
    notebook = write(code(f"open({str(mark)!r}, 'w')"))
    with pytest.raises(NotebookError, match="cannot be written"):
        run_notebook(notebook, output=Path("/proc/x/out.ipynb"))
    with pytest.raises(NotebookError, match="it is a folder"):
        run_notebook(notebook, output=tmp_path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        pytest.param(
            *row,
            marks=pytest.mark.fault(
                "lost", f"{row[0].name} ends a run", "outputs kept, no kernel left"
            ),
        )
        for row in [
            (signal.SIGINT, 130, "interrupted"),
            (signal.SIGTERM, 143, "terminated"),
            (signal.SIGHUP, 129, "SIGHUP"),
            (signal.SIGUSR1, 138, "SIGUSR1"),
            (signal.SIGUSR2, 140, "SIGUSR2"),
            (signal.SIGXCPU, 152, "SIGXCPU"),
        ]
    ],
)
def test_a_signal_stops_the_kernel_and_keeps_the_outputs(
    number: signal.Signals, status: int, words: str, write: Write, repository: Path
) -> None:
    notebook = write(
        code(
            "import os, pathlib, time\n"
            "print(os.getpid(), flush=True)\n"
            "pathlib.Path('at-work').touch()\n"
            "time.sleep(600)"
        )
    )
    at_work = notebook.parent / "at-work"
    process = subprocess.Popen(
        [sys.executable, "-m", "casa_env", "run", str(notebook)],
        cwd=repository,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # whoever started these tests may ignore it, as nohup does
        preexec_fn=partial(signal.signal, number, signal.SIG_DFL),  # noqa: PLW1509 - one thread
    )
    while not at_work.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)

    assert process.returncode == status
    assert words in errors
    assert "Traceback" not in errors
    kernel = int(stdout(default_output(notebook)))
    assert not Path(f"/proc/{kernel}").exists()


@pytest.mark.fault("lost", "SIGHUP, which nohup ignores", "the run goes on")
def test_a_signal_that_is_ignored_stays_ignored(write: Write, repository: Path) -> None:
    wait = "while not pathlib.Path('go-on').exists():\n    time.sleep(0.05)"
    text = (
        f"import pathlib, time\npathlib.Path('at-work').touch()\n{wait}\nprint('end')"
    )
    notebook = write(code(text))
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "casa_env", "run", str(notebook)],
        cwd=repository,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (notebook.parent / "at-work").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    (notebook.parent / "go-on").touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert stdout(default_output(notebook)).strip() == "end"
