"""What a failing source did: in words, and whether it is the host or the file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fsspec_failover.hooks import HookError
from fsspec_failover.urls import host_of, shown

#: What reading from a source has been seen to raise, and means: try another. Time-outs
#: are OSErrors; what else packages raise, their sources turn into these.
FAILURES: Final = (OSError, ImportError, HookError)

#: An answer of an XRootD server about this file: the host itself is well.
_ANSWER: Final = re.compile(r"Server responded with an error: \[(?P<code>\d+)\]")

#: XRootD's codes for a server in trouble (XProtocol, ``kXR_ServerError``,
#: ``kXR_noserver``, ``kXR_overloaded``), and for a file that is not there.
_IN_TROUBLE: Final = {"3012", "3013", "3024"}
_NOT_FOUND: Final = "[3011]"

#: Who we are is not known, or not enough (``kXR_NotAuthorized``, ``kXR_AuthFailed``;
#: RFC 9110, sections 15.5.2 and 15.5.4).
_REFUSAL: Final = {"3010", "3030"}
_HTTP_REFUSAL: Final = {401, 403}

#: Gateways that do not reach what is behind them (RFC 9110, section 15.6).
_HTTP_TROUBLE: Final = {502, 503, 504}

#: Longer texts of others are cut.
_LONGEST: Final = 120

#: What XRootD's client says of itself.
_FATAL: Final = re.compile(r"\[(?:FATAL|ERROR)\] (?P<what>.+)")


class NoSourceError(OSError):
    """None of a file's sources delivered it."""


class NothingThereError(NoSourceError, FileNotFoundError):
    """A file's last source, its origin, says that it is not there."""


class OtherFileError(OSError):
    """A source has a file of that name with another content."""


class AnswerError(OSError):
    """A web server answered with an error: its status and its words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)
        self.status = status

    def __str__(self) -> str:
        """Return what the server answered."""
        return f"answered {self.status} {self.strerror}"


def is_slow(err: BaseException) -> bool:
    """Tell whether a source did not answer in time."""
    return isinstance(err, TimeoutError)


def is_refusal(err: BaseException) -> bool:
    """Tell whether a server does not know us, or does not let us read."""
    if isinstance(err, AnswerError):
        return err.status in _HTTP_REFUSAL
    if isinstance(err, PermissionError):
        return True
    answer = _ANSWER.search(str(err))
    refused = answer is not None and answer["code"] in _REFUSAL
    return refused or "Auth failed" in str(err)


def is_down(err: BaseException) -> bool:
    """Tell whether a failure is the host's rather than the file's."""
    if isinstance(err, AnswerError):
        return err.status in _HTTP_TROUBLE
    ours = HookError | ImportError | OtherFileError
    if isinstance(err, ours | FileNotFoundError | PermissionError):
        return False
    answer = _ANSWER.search(str(err))
    if answer is not None:
        return answer["code"] in _IN_TROUBLE
    return "Auth failed" not in str(err)


def described(err: BaseException) -> str:
    """Return what a source did, for a report: in a few words, without file names."""
    text = " ".join(str(err).split())
    if is_slow(err):
        return "no answer in time"
    if isinstance(err, FileNotFoundError):
        return "no such file"
    if isinstance(err, HookError | ImportError | AnswerError | OtherFileError):
        return str(err).partition("\n")[0]
    answer, fatal = _ANSWER.search(text), _FATAL.search(text)
    if answer is not None:
        detail = text[answer.end() :].rpartition(";")[2].strip()
        return f"{detail or 'refused'} [{answer['code']}]"
    return fatal["what"] if fatal else f"{type(err).__name__}: {text}"[:_LONGEST]


def no_source(origin: str, failed: Sequence[tuple[str, Exception]]) -> NoSourceError:
    """Return the error for a file, from what each source did; the last is its origin.

    What a hook raised is shown whole, and is the cause. Nothing else is: what other
    packages raise quotes URLs, with what these hide.
    """
    kind, what = NoSourceError, f"No source delivered {shown(origin)}."
    # the origin knows best, whatever is the matter with caches
    answers = [err for url, err in failed if url == origin]
    if any(isinstance(e, FileNotFoundError) or _NOT_FOUND in str(e) for e in answers):
        kind, what = NothingThereError, f"There is no file {shown(origin)}."
    lines = [what]
    for url, err in failed:
        text = str(err) if isinstance(err, HookError) else described(err)
        lines.append(f"  {host_of(url)}: " + "\n  ".join(text.splitlines()))
    error = kind("\n".join(lines))
    hooks = [err.__cause__ for _, err in failed if isinstance(err, HookError)]
    error.__cause__ = hooks[0] if hooks else None
    return error
