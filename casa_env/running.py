"""Notebooks run from end to end: progress on the way, outputs kept, errors plain."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from casa_env.errors import CellError, NotebookError, require_package
from casa_env.parameters import set_parameters
from casa_env.settings.places import can_write, own_folder, whole, writable_environment

if TYPE_CHECKING:
    from jupyter_client.manager import KernelManager
    from nbformat import NotebookNode

logger = logging.getLogger(__name__)

#: How often a cell is looked at, and how long one may take to end that is interrupted,
#: or a kernel to start: an image's first start reads cold files. In seconds.
POLL_S, INTERRUPT_S, STARTUP_S = 0.2, 10.0, 120


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is: reported when a cell starts, while it works, and when it ends."""

    number: int
    total: int
    label: str
    seconds: float = 0.0
    line: str = ""
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    """A notebook that ran to its end: its executed copy, and what its summary says."""

    output: Path
    seconds: float
    summary: str


def run_notebook(
    notebook: Path,
    *,
    parameters: Mapping[str, object] | None = None,
    output: Path | None = None,
    profile: str | None = None,
    timeout: float | None = None,
    environ: Mapping[str, str] | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Run:
    """Run a notebook from end to end in a new kernel; keep its outputs in a copy.

    On a laptop, on Binder and at a facility the kernel is the Python that runs this,
    and works in the notebook's folder; a read-only home is worked around.

    Parameters
    ----------
    notebook, output
        The notebook, never changed; its copy, by default in the notebook's parameter
        OUTPUT_FOLDER, or else below ``results`` beside it. It is there however the run
        ends: elsewhere, with a warning, where its folder has become full.
    parameters
        New values for what the cell tagged ``parameters`` sets.
    profile, environ
        The kernel's profile of the settings; its variables, by default ours.
    timeout
        How long the run may take in all, in seconds.
    report
        Called with each step of progress, from another thread.

    Returns
    -------
    Run
        The copy, the time it took, and what cells tagged ``summary`` printed. Beside
        it, a file ``UNFINISHED`` says of any other run that outputs may be of two.

    Raises
    ------
    CellError, NotebookError
        If a cell raised an error; if the notebook cannot be read or its copy written,
        has no such ``parameter``, outlasts its ``timeout``, or its ``kernel`` dies.
    MissingPackageError, PathsError
        If `nbclient` or `ipykernel` is missing, or a place to write caches to.
    """
    require_package("ipykernel", "nbclient", why="Running notebooks")
    notebook = notebook.absolute()
    node = _opened(notebook)
    given = set_parameters(node, parameters or {}, str(notebook))
    folder = notebook.parent / (given or f"results/{notebook.stem}")
    output = (output or folder / f"{notebook.stem}.ipynb").absolute()
    _check_output(output, notebook)
    variables = dict(os.environ if environ is None else environ)
    variables |= writable_environment(variables)[0]
    variables.pop("PYTHONSTARTUP", None)  # the kernel would run it first
    if profile:
        variables["CASA_ENV_PROFILE"] = profile
    cells = [cell for cell in node.cells if cell.cell_type == "code"]
    for cell in cells:
        cell.outputs, cell.execution_count = [], None
    began = time.monotonic()
    mark = output.with_name("UNFINISHED")
    # A copy that cannot be written is said at the end, where it matters.
    with contextlib.suppress(OSError), whole(mark) as partial:
        partial.write_text(f"A run of {notebook} began and did not come to its end.\n")
    try:
        _execute(node, _Watch(node, report), notebook.parent, variables, timeout)
    except BaseException as err:
        kept = _keep(node, output)
        if isinstance(err, NotebookError):
            err.looked_at = f"{notebook}; its outputs so far are in {kept or 'no file'}"
        raise
    if (kept := _keep(node, output)) is None:
        what = "The notebook ran, and no place takes its executed copy."
        step = "Free some space, or name another file with --output."
        raise NotebookError(what, looked_at=str(output), next_step=step)
    mark.unlink(missing_ok=True)
    summary = [c for c in cells if "summary" in c.metadata.get("tags", [])]
    printed = [o.text for c in summary for o in c.outputs if o.get("name") == "stdout"]
    seconds = time.monotonic() - began
    return Run(output=kept, seconds=seconds, summary="".join(printed))


def _keep(node: NotebookNode, output: Path) -> Path | None:
    """Write the executed copy, whole; elsewhere where its folder takes it no more.

    It never raises: the error of the run itself is what the user has to see.
    """
    import nbformat

    for cell in node.cells:
        if cell.cell_type == "code":
            cell.outputs = _merged(cell.outputs)
    text = nbformat.writes(node) + "\n"  # type: ignore[no-untyped-call]
    reason = ""
    for place in (None, tempfile.gettempdir, Path.home):
        try:
            folder = tempfile.mkdtemp(prefix="casa-env-", dir=place()) if place else ""
        except (OSError, RuntimeError):
            continue
        kept = Path(folder) / output.name if folder else output
        try:
            with whole(kept) as partial:
                partial.write_text(text, encoding="utf-8")
        except OSError as err:
            reason = reason or str(err.strerror)
            with contextlib.suppress(OSError):
                Path(folder or output).rmdir()
            continue
        if reason:
            words = "%s cannot be written (%s): the executed copy is %s"
            logger.warning(words, output, reason, kept)
        return kept
    logger.warning("%s cannot be written (%s): no executed copy", output, reason)
    return None


def _merged(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Return outputs with one stream each of stdout and stderr, in one linear pass.

    nbclient 0.11's own ``coalesce_streams`` takes time that grows with the square of a
    line's length, and hears nothing meanwhile. It may come back when that is mended.
    """
    texts: dict[str, list[str]] = {}
    merged: list[NotebookNode] = []
    for output in outputs:
        if output.output_type != "stream":
            merged.append(output)
            continue
        if output.name not in texts:
            merged.append(output)
        texts.setdefault(output.name, []).append(output.text)
    for n, output in enumerate(merged):
        if output.output_type == "stream":
            lines = "".join(texts[output.name]).split("\n")
            output.text = "\n".join(map(_overwritten, lines))
            if output.name == "stdout" and n and merged[n - 1].get("name") == "stderr":
                merged[n - 1 : n + 1] = [output, merged[n - 1]]
    return merged


def _overwritten(line: str) -> str:
    """Return what a terminal shows of a line in which carriage returns start anew."""
    shown = line.rstrip("\r")
    return shown.rpartition("\r")[2] + line[len(shown) :]


def _opened(notebook: Path) -> NotebookNode:
    """Read a notebook."""
    import nbformat

    broken = (AttributeError, KeyError, OSError, TypeError, ValueError)
    try:  # readers of old formats take what they get for granted
        node: NotebookNode = nbformat.read(notebook, as_version=4)  # type: ignore[no-untyped-call]
        nbformat.validate(node)
        language = node.metadata.get("kernelspec", {}).get("language") or "python"
        reason = "" if language.lower() == "python" else f"it is written in {language}"
    except (*broken, nbformat.ValidationError) as err:
        reason = getattr(err, "strerror", None) or str(err).splitlines()[0]
    if reason:
        what = f"This is not a Jupyter notebook that can be run: {reason}."
        step = "Give one in Python that JupyterLab opens."
        raise NotebookError(what, looked_at=str(notebook), next_step=step)
    return node


def _check_output(output: Path, notebook: Path) -> None:
    """Make the folder of a notebook's copy; raise before work is lost."""
    reason = "its folder cannot be written, or is full"
    try:
        own_folder(output.parent)
        reason = "" if can_write(output.parent) else reason
    except OSError as err:
        reason = f"{err.strerror}: {err.filename}"
    reason = "it is a folder" if output.is_dir() else reason
    if output.resolve() == notebook.resolve():
        reason = "it is the notebook itself, which is never changed"
    if reason:
        what = f"The executed notebook cannot be written: {reason}."
        step = "Name another file with --output."
        raise NotebookError(what, looked_at=str(output), next_step=step)


class _Watch:
    """Progress made of what nbclient's hooks tell: which cell is at work."""

    def __init__(self, node: NotebookNode, report: Callable[[Progress], None]) -> None:
        self.cell, self._report, self._labels = node, report, dict(_labels(node))
        self.step = Progress(number=0, total=len(self._labels), label="", done=True)

    def starts(self, cell: NotebookNode, cell_index: int) -> None:
        self.cell, self._began = cell, time.monotonic()
        number, label = self.step.number + 1, self._labels[cell_index]
        self.step = Progress(number=number, total=len(self._labels), label=label)
        self._report(self.step)

    def looks(self, *, done: bool = False, **_: object) -> None:
        if not self.step.done:
            seconds, line = time.monotonic() - self._began, _last_line(self.cell)
            self.step = replace(self.step, seconds=seconds, line=line, done=done)
            self._report(self.step)


def _execute(
    node: NotebookNode,
    watch: _Watch,
    cwd: Path,
    environ: Mapping[str, str],
    timeout: float | None,
) -> None:
    """Run the cells in a new kernel of this Python, which ends however they end."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    # A private folder for the connection file, with the kernel's key, for sockets that
    # need no ports and keep others out, and for what the kernel's process complains of.
    # nbclient has a thread, where it takes no signals: they raise in this one.
    with (
        tempfile.TemporaryDirectory(prefix="casa-env-") as folder,
        Path(folder, "stderr").open("w+", errors="replace") as stderr,
        ThreadPoolExecutor(max_workers=1) as pool,
    ):
        file = Path(folder, "kernel.json")
        manager: Any = AsyncKernelManager(
            # a socket's name has 107 bytes (unix(7)); kernels add to their file's
            transport="ipc" if len(bytes(file)) < 100 else "tcp",  # noqa: PLR2004
            kernel_name="python3",
            # without folders to search there is one kernel: ipykernel in this Python
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
            connection_file=str(file),
        )
        client = NotebookClient(
            node,
            km=manager,
            coalesce_streams=False,  # see `_merged`
            startup_timeout=STARTUP_S,
            on_cell_execute=watch.starts,
            on_cell_executed=partial(watch.looks, done=True),
        )

        async def run() -> None:
            try:
                start = client.async_start_new_kernel
                await start(cwd=str(cwd), env=environ, stderr=stderr)
                await client.async_start_new_kernel_client()
            except (OSError, RuntimeError) as err:
                raise _failure(err, watch, manager, stderr) from err
            cells = asyncio.ensure_future(client.async_execute(cleanup_kc=True))
            while not cells.done():
                await asyncio.wait({cells}, timeout=POLL_S)
                watch.looks()
            await cells

        work = pool.submit(asyncio.run, run())
        try:
            work.result(timeout)
        except (CellExecutionError, DeadKernelError, TimeoutError) as err:
            ended = getattr(err, "ename", "") == "SystemExit"
            if not (ended and err.evalue in {"", "0", "None"}):  # type: ignore[union-attr]
                raise _failure(err, watch, manager, stderr) from err
        finally:
            for number in (signal.SIGINT, signal.SIGKILL):
                if not work.done():  # the time is up, or we were interrupted
                    with contextlib.suppress(AttributeError, OSError, TypeError):
                        os.killpg(manager.provisioner.pgid, number)  # if it is there
                    wait({work}, INTERRUPT_S)
            watch.looks(done=True)
            client.set_widgets_metadata()


def _failure(
    err: Exception, watch: _Watch, manager: KernelManager, stderr: TextIO
) -> NotebookError:
    """Return our error for one of nbclient's, with a dead kernel's last words."""
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    cell = f"cell {watch.step.number} of {watch.step.total} ({watch.step.label})"
    if isinstance(err, CellExecutionError):
        what = f"C{cell[1:]} failed: {err.ename}: {err.evalue}"
        step = "Open the executed copy to look at it."
        trace = [o.traceback for o in watch.cell.outputs if o.output_type == "error"]
        lines, source = "\n".join(trace[-1]), watch.cell.source
        return CellError(what, source=source, traceback=lines, next_step=step)
    if isinstance(err, TimeoutError):
        what = f"The time is up: it ran out in {cell}."
        step = "Allow more with --timeout, or make the notebook do less."
        return NotebookError(what, next_step=step, kind="timeout")
    what = f"The notebook's kernel did not start: {err}."
    step = f"Try `{sys.executable} -m ipykernel_launcher --version`."
    if isinstance(err, DeadKernelError):
        code = manager.provisioner.process.returncode  # type: ignore[union-attr]
        how = f"exited with status {code}"
        if code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            how += ", as the system does when memory runs out" * (
                code == -signal.SIGKILL
            )
        what = f"The kernel died in {cell}: its process {how}."
        step = "Give it more memory, or less to do."
    stderr.seek(0)
    step = "\n".join([step, *stderr.read().strip().splitlines()[-5:]])
    return NotebookError(what, next_step=step, kind="kernel")


def _labels(node: NotebookNode) -> Iterator[tuple[int, str]]:
    """Return what each code cell does: its first comment, or the heading above it."""
    heading = ""
    for index, cell in enumerate(node.cells):
        first, *_ = lines = cell.source.strip().splitlines() or [""]
        if cell.cell_type == "markdown":
            titles = [line.strip("# ") for line in lines if line.startswith("#")]
            heading = (titles or [heading])[-1]
        elif cell.cell_type == "code" and first:
            yield index, first.strip("#% ") if first[0] == "#" else heading or first


def _last_line(cell: NotebookNode) -> str:
    """Return the last line that a cell has written so far, such as a progress bar."""
    # the last few say it: to read all of them each time would take ever longer
    last = cell.get("outputs", [])[-100:]
    streams = [o.text[-2000:] for o in last if o.output_type == "stream"]
    lines = "".join(streams)[-2000:].replace("\r", "\n").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def progress_reporter(stream: TextIO) -> Callable[[Progress], None]:
    """Return what writes progress: live on a terminal, one line a cell elsewhere."""

    def report(step: Progress) -> None:
        try:
            write(step)
        except OSError as err:
            if err.errno != errno.EIO:  # the terminal is gone: nobody to tell
                raise

    def write(step: Progress) -> None:
        cell = f"[{step.number:{len(str(step.total))}d}/{step.total}] {step.label}"
        if stream.isatty():
            line = f"{cell} {step.seconds:.0f} s{' | ' * bool(step.line)}{step.line}"
            line = line[: shutil.get_terminal_size().columns - 1]
            ended = f"{cell} {step.seconds:.1f} s\n"
            stream.write(f"\r\x1b[K{ended if step.done else line}")
        elif step.done:
            stream.write(f" {step.seconds:.1f} s\n")
        elif not step.seconds:
            stream.write(cell)
        stream.flush()

    return report
