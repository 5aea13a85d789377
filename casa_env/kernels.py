"""A notebook's kernel: started, given the cells one by one, always stopped."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from casa_env.errors import CellError, KernelError, NotebookTimeoutError

if TYPE_CHECKING:
    from nbclient import NotebookClient
    from nbformat import NotebookNode

__all__ = ["Progress", "execute"]

#: How often the output of a running cell is looked at, in seconds.
POLL_S: Final = 0.2

#: How many lines of what a dead kernel has written last are shown.
LAST_WORDS: Final = 5

#: How long a kernel may take to start; an image's first start reads cold files.
STARTUP_S: Final = 120

#: How long an interrupted cell may take to end before its kernel is killed.
INTERRUPT_S: Final = 5.0

#: The connection file's name gets a few more characters to name sockets.
LONGEST_SOCKET: Final = 100


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run is: sent when a cell starts, while it works, and when it ends."""

    number: int
    """The cell's number among the code cells, from 1."""

    total: int
    """How many code cells there are."""

    label: str
    """What the cell does: its first comment, or the heading above it."""

    seconds: float
    """How long the cell has been running."""

    line: str = ""
    """The last line that it wrote, such as a progress bar."""

    done: bool = False
    """Whether the cell has ended."""


async def execute(
    node: NotebookNode,
    *,
    cwd: Path,
    environ: dict[str, str],
    deadline: float | None,
    report: Callable[[Progress], None],
) -> None:
    """Run a notebook's cells in a new kernel of the Python that runs now.

    Parameters
    ----------
    node
        The notebook; its cells get their outputs in place.
    cwd
        The kernel's working directory.
    environ
        The kernel's environment variables.
    deadline
        When to give up, on the clock of `time.monotonic`; ``None`` is never.
    report
        Called with each step of progress.

    Raises
    ------
    CellError
        If a cell raised an error.
    KernelError
        If the kernel did not start, or died.
    NotebookTimeoutError
        If the deadline passed.
    """
    task = asyncio.current_task()
    with contextlib.suppress(NotImplementedError, RuntimeError):  # not the main thread
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # type: ignore[union-attr]
    # The connection file holds the kernel's key; the usual folder may be read-only.
    with tempfile.TemporaryDirectory(prefix="casa-env-") as folder:
        client = _notebook_client(node, Path(folder) / "kernel.json")
        # What the kernel itself complains of, such as of a socket that we closed when
        # it was about to end, matters only if it dies.
        words = Path(folder) / "stderr"
        try:
            await _start(client, cwd=cwd, environ=environ, words=words)
            for index, step in _steps(node):
                await _run_cell(client, index, step, deadline, report, words)
        finally:
            with contextlib.suppress(KeyError):  # no widgets
                client.set_widgets_metadata()
            await _stop(client)


def _notebook_client(node: NotebookNode, connection_file: Path) -> NotebookClient:
    """Return a client of a kernel that is the Python running now."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    # Sockets in our private folder keep other users of the machine out, and need no
    # ports. The longest name of a socket is 107 bytes (unix(7)).
    short = len(bytes(connection_file)) < LONGEST_SOCKET
    # Without folders to search there is one kernel: ipykernel in `sys.executable`.
    manager = AsyncKernelManager(
        transport="ipc" if short else "tcp",
        kernel_name="python3",
        kernel_spec_manager=KernelSpecManager(kernel_dirs=[]),
        connection_file=str(connection_file),
    )
    return NotebookClient(
        node, km=manager, coalesce_streams=True, startup_timeout=STARTUP_S
    )


async def _start(
    client: Any,  # noqa: ANN401 - NotebookClient is untyped
    *,
    cwd: Path,
    environ: dict[str, str],
    words: Path,
) -> None:
    """Start the kernel, its complaints going to a file; wait until it answers."""
    start = client.async_start_new_kernel
    try:
        with _opened(words) as stderr:
            await start(cwd=str(cwd), env=environ, stderr=stderr)
        await client.async_start_new_kernel_client()
    except (OSError, RuntimeError) as err:
        what = f"The notebook's kernel did not start: {err}."
        hint = f"Try `{sys.executable} -m ipykernel_launcher --version`."
        step = "\n".join([hint, *_last_words(words)])
        raise KernelError(what, next_step=step) from err


def _steps(node: NotebookNode) -> Iterator[tuple[int, Progress]]:
    """Return the index of each code cell to run, and what progress says of it."""
    code = [c for c in node.cells if c.cell_type == "code" and c.source.strip()]
    heading, number = "", 0
    for index, cell in enumerate(node.cells):
        if cell.cell_type == "markdown":
            titles = [t for t in cell.source.splitlines() if t.startswith("#")]
            heading = titles[-1].strip("# ") if titles else heading
        elif cell.cell_type == "code" and cell.source.strip():
            number += 1
            first = cell.source.strip().splitlines()[0]
            label = first.strip("#% ") if first.startswith("#") else heading or first
            yield (
                index,
                Progress(number=number, total=len(code), label=label, seconds=0.0),
            )


async def _run_cell(  # noqa: PLR0917 - a private function of one caller
    client: Any,  # noqa: ANN401 - NotebookClient is untyped
    index: int,
    step: Progress,
    deadline: float | None,
    report: Callable[[Progress], None],
    words: Path,
) -> None:
    """Run a cell and report what it does."""
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    cell = client.nb.cells[index]
    began = time.monotonic()
    report(step)
    work = asyncio.ensure_future(
        client.async_execute_cell(cell, index, execution_count=step.number)
    )
    try:
        while not work.done():
            await asyncio.wait({work}, timeout=POLL_S)
            now = time.monotonic()
            line = _last_line(cell)
            report(replace(step, seconds=now - began, line=line, done=work.done()))
            if deadline is not None and now > deadline and not work.done():
                what = f"The time is up: it ran out in cell {_named(step)}."
                hint = "Allow more with --timeout, or make the notebook do less."
                raise NotebookTimeoutError(what, next_step=hint)
        await work
    except CellExecutionError as err:
        what = f"Cell {_named(step)} failed: {err.ename}: {err.evalue}"
        raise CellError(
            what,
            source=cell.source,
            traceback=_traceback(cell) or err.traceback,
            next_step="Open the executed copy to look at it.",
        ) from err
    except DeadKernelError as err:
        what = f"The kernel died in cell {_named(step)}: {await _death(client)}."
        hints = ["Give it more memory, or less to do.", *_last_words(words)]
        step_text = "\n".join(hints)
        raise KernelError(what, next_step=step_text) from err
    finally:
        if not work.done():  # the time is up, or we were interrupted
            report(replace(step, seconds=time.monotonic() - began, done=True))
            await client.km.interrupt_kernel()
            await asyncio.wait({work}, timeout=INTERRUPT_S)
            work.cancel()
        await asyncio.gather(work, return_exceptions=True)


def _opened(words: Path) -> BinaryIO:
    """Open the file that takes what a kernel's process writes by itself."""
    return words.open("wb")


def _last_words(words: Path) -> list[str]:
    """Return the last lines that a kernel's process has written by itself."""
    return words.read_text(errors="replace").strip().splitlines()[-LAST_WORDS:]


def _named(step: Progress) -> str:
    """Return a cell's number and label."""
    return f"{step.number} of {step.total} ({step.label})"


async def _death(client: Any) -> str:  # noqa: ANN401 - NotebookClient is untyped
    """Return how the kernel's process ended."""
    provisioner = client.km.provisioner
    code = None if provisioner is None else await provisioner.poll()
    if code is None:
        return "it no longer answers"
    if code >= 0:
        return f"its process exited with status {code}"
    name = signal.Signals(-code).name
    cause = ", as the system does when memory runs out" if code == -9 else ""  # noqa: PLR2004
    return f"its process was killed by {name}{cause}"


def _traceback(cell: NotebookNode) -> str:
    """Return the traceback in a cell's outputs."""
    errors = [output for output in cell.outputs if output.output_type == "error"]
    return "\n".join(errors[-1].traceback) if errors else ""


def _last_line(cell: NotebookNode) -> str:
    """Return the last line that a cell has written so far."""
    for output in reversed(cell.get("outputs", [])):
        if output.output_type == "stream":
            lines = output.text[-2000:].replace("\r", "\n").split("\n")
            written = [line.strip() for line in lines if line.strip()]
            if written:
                return str(written[-1])
    return ""


async def _stop(client: Any) -> None:  # noqa: ANN401 - NotebookClient is untyped
    """Stop the kernel: ask, then kill it and its children."""
    if client.kc is not None:
        client.kc.stop_channels()
    # A kernel that did not start has been cleaned up, with its manager, by nbclient.
    if client.km is not None and client.km.has_kernel:
        await client.km.shutdown_kernel(now=False)
