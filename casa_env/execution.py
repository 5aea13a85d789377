"""Notebooks run from end to end: progress on the way, outputs kept, errors plain."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from casa_env.errors import MissingPackageError, NotebookError
from casa_env.kernels import Progress, execute
from casa_env.parameters import inject
from casa_env.settings.places import can_write, writable_environment

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["Progress", "Run", "default_output", "run_notebook"]

SUMMARY_TAG: Final = "summary"


@dataclass(frozen=True, kw_only=True)
class Run:
    """A notebook that ran to its end."""

    output: Path
    """The executed copy."""

    seconds: float
    """How long it took."""

    summary: str
    """What the cells tagged ``summary`` printed."""


def default_output(notebook: Path) -> Path:
    """Return where the executed copy of a notebook goes by default.

    Parameters
    ----------
    notebook
        The notebook.

    Examples
    --------
    >>> default_output(Path("notebooks/agc-ttbar.ipynb")).as_posix()
    'notebooks/results/agc-ttbar/agc-ttbar.ipynb'
    """
    return notebook.parent / "results" / notebook.stem / f"{notebook.stem}.ipynb"


def run_notebook(
    notebook: Path,
    *,
    parameters: Mapping[str, object] | None = None,
    output: Path | None = None,
    profile: str | None = None,
    timeout: float | None = None,
    environ: Mapping[str, str] | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Run:
    """Run a notebook from end to end in a new kernel, and keep its outputs.

    The kernel is the Python that runs this function, whatever kernels are installed
    elsewhere, and works in the notebook's folder. It is the same on a laptop, on
    Binder and at a facility; a read-only home directory is worked around.

    Parameters
    ----------
    notebook
        The notebook. It is never changed.
    parameters
        New values for what the cell tagged ``parameters`` sets.
    output
        Where the executed copy goes; by default `default_output`.
    profile
        The profile of the settings to use, given to the kernel.
    timeout
        How long the notebook may take in all, in seconds.
    environ
        Environment variables of the kernel; by default those of this process.
    report
        Called with each step of progress.

    Returns
    -------
    Run
        Where the executed copy is, and what it took.

    Raises
    ------
    CellError
        If a cell raised an error.
    KernelError
        If the kernel did not start, or died.
    MissingPackageError
        If `nbclient` or `ipykernel` is not installed.
    NotebookError
        If the notebook cannot be read, or its copy cannot be written.
    NotebookTimeoutError
        If it took too long.
    ParameterError
        If a parameter is not one of the notebook's.
    PathsError
        If there is no place to write caches to.

    Notes
    -----
    However the run ends, what the cells have put out so far is in the executed copy.
    """
    _require_packages()
    import nbformat

    notebook = notebook.absolute()
    output = (output or default_output(notebook)).absolute()
    node = _read(notebook)
    inject(node, parameters or {}, where=str(notebook))
    _prepare(output, notebook)
    environ = dict(os.environ if environ is None else environ)
    environ |= writable_environment(environ)[0]
    if profile:
        environ["CASA_ENV_PROFILE"] = profile
    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    began = time.monotonic()
    work = execute(
        node,
        cwd=notebook.parent,
        environ=environ,
        deadline=None if timeout is None else began + timeout,
        report=report or (lambda _progress: None),
    )
    try:
        asyncio.run(work)
    except NotebookError as err:
        err.looked_at = f"{notebook}; its outputs so far are in {output}"
        raise
    finally:
        partial = output.with_name(f".{output.name}.partial")
        nbformat.write(node, partial)  # type: ignore[no-untyped-call]
        partial.replace(output)
    seconds = time.monotonic() - began
    return Run(output=output, seconds=seconds, summary=_summary(node))


def _require_packages() -> None:
    """Raise unless what runs notebooks is installed."""
    missing = [name for name in ("ipykernel", "nbclient") if find_spec(name) is None]
    if missing:
        what = f"Running notebooks needs {' and '.join(missing)}."
        step = f"python -m pip install {' '.join(missing)}"
        raise MissingPackageError(what, looked_at=sys.prefix, next_step=step)


def _read(notebook: Path) -> NotebookNode:
    """Read a notebook, in today's format."""
    import nbformat

    try:
        node: NotebookNode = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(node)
    except OSError as err:
        what = f"The notebook cannot be read: {err.strerror}."
        step = "Check the path."
        raise NotebookError(what, looked_at=str(notebook), next_step=step) from err
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
        nbformat.ValidationError,
    ) as err:  # its readers of old formats take what they get for granted
        reason = str(err).splitlines()[0]
        what = f"This is not a Jupyter notebook: {reason}"
        step = "Give a file that Jupyter can open."
        raise NotebookError(what, looked_at=str(notebook), next_step=step) from err
    language = node.metadata.get("kernelspec", {}).get("language") or "python"
    if language.lower() != "python":
        what = f"The notebook is written in {language}; only Python can be run."
        step = "Open it in JupyterLab, with a kernel for that language."
        raise NotebookError(what, looked_at=str(notebook), next_step=step)
    return node


def _prepare(output: Path, notebook: Path) -> None:
    """Make the output's folder; raise now rather than after the work is done."""
    problem = ""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        problem = err.strerror or str(err)
    if not problem and not can_write(output.parent):
        problem = "its folder cannot be written"
    if output.is_dir():
        problem = "it is a folder"
    if output.resolve() == notebook.resolve():
        problem = "it is the notebook itself, which is never changed"
    if problem:
        what = f"The executed notebook cannot be written: {problem}."
        step = "Name another file with --output."
        raise NotebookError(what, looked_at=str(output), next_step=step)


def _summary(node: NotebookNode) -> str:
    """Return what the cells tagged ``summary`` printed."""
    printed = [
        output.text
        for cell in node.cells
        if SUMMARY_TAG in cell.metadata.get("tags", []) and cell.cell_type == "code"
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    ]
    return "".join(printed)
