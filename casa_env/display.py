"""Progress of a run, for people: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TextIO

from casa_env.kernels import Progress

__all__ = ["live_line", "progress_reporter", "result_line"]

_ERASE = "\r\x1b[K"


def progress_reporter(stream: TextIO) -> Callable[[Progress], None]:
    """Return what writes progress to a stream.

    Parameters
    ----------
    stream
        Where to write. On a terminal one line follows what the cell does and writes;
        elsewhere each cell gets one line, begun when it starts and ended when it ends.

    Returns
    -------
    callable
        Takes a `Progress`.
    """

    def live(progress: Progress) -> None:
        columns = shutil.get_terminal_size().columns
        stream.write(_ERASE + live_line(progress)[: columns - 1])
        if progress.done:
            stream.write(_ERASE + result_line(progress) + "\n")
        stream.flush()

    def plain(progress: Progress) -> None:
        if progress.done:
            stream.write(f" {progress.seconds:.1f} s\n")
        elif not progress.seconds:
            stream.write(_position(progress))
        stream.flush()

    return live if stream.isatty() else plain


def live_line(progress: Progress) -> str:
    """Return the line about a cell that is running.

    Parameters
    ----------
    progress
        Where the run is.
    """
    said = f" | {progress.line}" if progress.line else ""
    return f"{_position(progress)} {progress.seconds:.0f} s{said}"


def result_line(progress: Progress) -> str:
    """Return the line about a cell that has ended.

    Parameters
    ----------
    progress
        Where the run is.
    """
    return f"{_position(progress)} {progress.seconds:.1f} s"


def _position(progress: Progress) -> str:
    """Return number and label."""
    width = len(str(progress.total))
    return f"[{progress.number:{width}d}/{progress.total}] {progress.label}"
