"""What tasks print and warn of, sent to the notebook; travels as `worker_side` does."""

from __future__ import annotations

import io
import os
import pickle
import socket
import sys
import threading
import warnings
from typing import Any

__all__ = ["Voice"]


class Voice:
    """Let the notebook hear what tasks print and warn of."""

    def __init__(self, home: tuple[str, int]) -> None:
        self.home = home
        self.before: tuple[Any, ...] = ()

    def setup(self, worker: Any) -> None:  # noqa: ANN401, ARG002 - distributed's
        """Listen to standard output, standard error and warnings."""
        if self.home == (socket.gethostname(), os.getpid()):
            return  # a worker in threads prints in the notebook anyway
        self.before = sys.stdout, warnings.showwarning
        sys.stdout = _Echo(sys.stdout)
        warnings.showwarning = _echo_warning(warnings.showwarning)

    def teardown(self, worker: Any) -> None:  # noqa: ANN401, ARG002 - distributed's
        """Stop listening."""
        if self.before:
            sys.stdout, warnings.showwarning = self.before
            self.before = ()


class _Echo(io.TextIOBase):
    """A stream whose lines, where a task wrote them, are sent to the notebook too."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - any stream
        self._stream = stream
        self._lines: dict[int, str] = {}

    def write(self, text: str) -> int:
        """Write here, and there line by line."""
        self._stream.write(text)
        worker = _current_worker()
        if worker is not None:
            thread = threading.get_ident()
            *lines, rest = (self._lines.pop(thread, "") + text).split("\n")
            if rest:
                self._lines[thread] = rest
            if lines:
                said = {"args": ("\n".join(lines),), "file": 1}
                worker.log_event("print", said)
        return len(text)

    def flush(self) -> None:
        """Flush what lies beneath."""
        self._stream.flush()

    def fileno(self) -> int:
        """Return the number of the file beneath."""
        number: int = self._stream.fileno()
        return number


def _echo_warning(show: Any) -> Any:  # noqa: ANN401 - the standard library's hook
    """Return what shows a warning here and sends it to the notebook."""

    def echo(message: Any, category: Any, *where: Any, **more: Any) -> None:  # noqa: ANN401
        show(message, category, *where, **more)
        worker = _current_worker()
        if worker is not None:
            try:
                said = pickle.dumps(message), pickle.dumps(category)
            except Exception:  # noqa: BLE001 - a class of the task's own
                said = pickle.dumps(str(message)), pickle.dumps(UserWarning)
            worker.log_event("warn", {"message": said[0], "category": said[1]})

    return echo


def _current_worker() -> Any:  # noqa: ANN401 - distributed's
    """Return the worker whose task this thread runs, if it runs one."""
    from distributed import get_worker
    from distributed.worker import thread_state  # type: ignore[attr-defined]

    if not hasattr(thread_state, "execution_state"):
        return None
    try:
        return get_worker()
    except ValueError:
        return None
