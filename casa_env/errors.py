"""What can go wrong: what happened, what was looked at, what to do next."""

from __future__ import annotations

from typing import Any

__all__ = [
    "CasaEnvError",
    "CellError",
    "ClusterError",
    "HubTokenError",
    "KernelError",
    "MissingPackageError",
    "NotebookError",
    "NotebookTimeoutError",
    "ParameterError",
    "PathsError",
    "SettingsError",
    "UnreachableError",
]


class CasaEnvError(Exception):
    """The root of everything that casa_env raises on purpose.

    The three fields survive pickling, so that an error raised in a Dask worker
    arrives whole in the notebook.

    Parameters
    ----------
    what
        What happened, in one sentence.
    looked_at
        What was looked at: the file and line, the variable, the address.
    next_step
        What to do next: a command, or the setting to change.

    Examples
    --------
    >>> print(CasaEnvError("No answer.", looked_at="port 1", next_step="Start it."))
    No answer.
      looked at: port 1
      next step: Start it.
    """

    def __init__(self, what: str, *, looked_at: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.looked_at = looked_at
        self.next_step = next_step

    def __str__(self) -> str:
        """Return the three fields, one a line; empty ones are left out."""
        lines = [self.what]
        if self.looked_at:
            lines.append(f"  looked at: {self.looked_at}")
        if self.next_step:
            lines.append(f"  next step: {self.next_step}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by fields: ``Exception`` would call the class with ``args`` only."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(
    cls: type[CasaEnvError], args: tuple[Any, ...], fields: dict[str, Any]
) -> CasaEnvError:
    """Make an error again from what `CasaEnvError.__reduce__` gave."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(fields)
    return error


class SettingsError(CasaEnvError):
    """A setting is unknown, has the wrong type, or its file cannot be read."""


class PathsError(CasaEnvError, OSError):
    """No place was found where caches and state can be written."""


class MissingPackageError(CasaEnvError):
    """A package that this function needs is not installed."""


class ClusterError(CasaEnvError):
    """A Dask cluster could not be started, or the back end cannot do this."""


class UnreachableError(ClusterError):
    """A scheduler did not answer in time, or refused us."""


class HubTokenError(CasaEnvError):
    """The hub did not give the token of its user's login."""


class NotebookError(CasaEnvError):
    """A notebook cannot be read, run or written."""


class ParameterError(NotebookError):
    """A parameter is not one that the notebook has, or has another type."""


class KernelError(NotebookError):
    """The notebook's kernel did not start, or died."""


class NotebookTimeoutError(NotebookError):
    """The notebook took longer than it was given."""


class CellError(NotebookError):
    """A cell raised an error.

    Parameters
    ----------
    what
        What happened, in one sentence.
    source
        The source of the cell.
    traceback
        The traceback as IPython coloured it, with ANSI escapes.
    looked_at, next_step
        As for `CasaEnvError`.
    """

    def __init__(
        self,
        what: str,
        *,
        source: str,
        traceback: str,
        looked_at: str = "",
        next_step: str = "",
    ) -> None:
        super().__init__(what, looked_at=looked_at, next_step=next_step)
        self.source = source
        self.traceback = traceback
