"""What can go wrong: what happened, what was looked at, what to do next."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, Final

#: A URL anywhere in a text, to its end where it begins with one; what it may hide.
_URL: Final = re.compile(
    r"\A[a-z][a-z0-9+.-]*://.*|[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE | re.DOTALL
)
_USER: Final = re.compile(r"(?<=://)[^/?#]*@")
_QUERY: Final = re.compile(r"[?][^#]*")


def redacted(text: str) -> str:
    """Return a text, each of its URLs without user, password and query.

    A cache's URL has its origin's in its path, and that may have a password, too.
    """
    return _URL.sub(
        lambda url: _QUERY.sub("?***", _USER.sub("***@", url.group())), text
    )


def innermost(err: BaseException | None) -> str:
    """Return what the innermost cause of an error says that says anything."""
    text = ""
    while err is not None:
        text = str(getattr(err, "strerror", None) or err) or text
        err = err.__cause__ or err.__context__
    return text.partition("\n")[0] or "without a reason"


class CasaEnvError(Exception):
    """The root of all that casa_env raises on purpose, without secrets of URLs.

    Its fields survive pickling, so that an error raised in a Dask worker arrives whole
    in the notebook.

    Parameters
    ----------
    what
        What happened, in one sentence.
    looked_at
        What was looked at: the file and line, the variable, the address.
    next_step
        What to do next: a command, or the setting to change.
    kind
        One word for programs that go on differently: each class lists its kinds.

    Examples
    --------
    >>> print(CasaEnvError("No answer.", looked_at="port 1", next_step="Start it."))
    No answer.
      looked at: port 1
      next step: Start it.
    """

    def __init__(
        self, what: str, *, looked_at: str = "", next_step: str = "", kind: str = ""
    ) -> None:
        super().__init__(redacted(what))
        self.what = redacted(what)
        self.looked_at = redacted(looked_at)
        self.next_step = next_step
        self.kind = kind

    def __str__(self) -> str:
        """Return what happened, what was looked at, the next step: one a line."""
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
    """A cluster did not start; or it is unreachable, or its workers, or shipping."""


class EnvironmentMismatchError(ClusterError):
    """A scheduler or a worker has another environment than the client.

    Parameters
    ----------
    what, looked_at, next_step
        As for `CasaEnvError`.
    differences
        For each scheduler or worker: package, the client's version, theirs.
    """

    def __init__(
        self,
        what: str,
        *,
        differences: Mapping[str, tuple[tuple[str, ...], ...]],
        **fields: str,
    ) -> None:
        super().__init__(what, **fields)
        self.differences = dict(differences)


class CredentialsError(CasaEnvError):
    """A token, proxy or certificate is of no use.

    Kinds: ``missing``, ``invalid``, ``expired``, ``audience``, ``scope``, ``refused``
    and ``hub``.
    """


class TrackingError(CasaEnvError):
    """A run cannot be recorded, is not there, or was ``killed``."""


class NotebookError(CasaEnvError):
    """A notebook cannot be read, run or written.

    Kinds: ``parameter``, ``kernel`` and ``timeout``.
    """


class CellError(NotebookError):
    """A cell raised an error: its source, and the traceback with ANSI colours."""

    def __init__(
        self, what: str, *, source: str, traceback: str, **fields: str
    ) -> None:
        super().__init__(what, **fields)
        self.source = source
        self.traceback = traceback


def require_package(*names: str, why: str) -> None:
    """Raise `MissingPackageError` unless all packages are here; import none of them.

    Names are as pip knows them; ``why`` begins the sentence: "Dask clusters".
    """
    missing = [name for name in names if find_spec(name.replace("-", "_")) is None]
    if missing:
        what = f"{why} needs {' and '.join(missing)}, not installed here."
        step = f"python -m pip install {' '.join(missing)}"
        raise MissingPackageError(what, looked_at=sys.prefix, next_step=step)
