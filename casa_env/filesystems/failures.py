"""What a failing source did: in words, and whether it is the host or the file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import aiohttp
from fsspec.exceptions import FSTimeoutError

from casa_env.errors import (
    CasaEnvError,
    CredentialsError,
    NoSourceError,
    NothingThereError,
)
from casa_env.settings import table as values
from casa_env.xcache import host_of

__all__ = [
    "FAILURES",
    "OtherFileError",
    "is_down",
    "is_refusal",
    "is_slow",
    "no_source",
    "worded",
]

#: What reading from a source has been seen to raise, and means: try another.
FAILURES: Final = (
    OSError,
    TimeoutError,
    FSTimeoutError,
    aiohttp.ClientError,
    CredentialsError,
)

#: An answer of the server about this file: the host itself is well.
_ANSWER: Final = re.compile(r"Server responded with an error: \[(?P<code>\d+)\]")

#: XRootD's codes for a server in trouble (XProtocol, ``kXR_ServerError``,
#: ``kXR_noserver``, ``kXR_overloaded``).
_IN_TROUBLE: Final = {"3012", "3013", "3024"}

_NOT_FOUND: Final = "[3011]"

#: Who we are is not known, or not enough (``kXR_NotAuthorized``, ``kXR_AuthFailed``;
#: RFC 9110, sections 15.5.2 and 15.5.4).
_REFUSAL: Final = {"3010", "3030"}
_HTTP_REFUSAL: Final = {401, 403}

#: Gateways that do not reach what is behind them (RFC 9110, section 15.6).
_HTTP_TROUBLE: Final = {502, 503, 504}

#: Longer words of others are cut.
LONGEST: Final = 120

#: What XRootD's client says of itself.
_FATAL: Final = re.compile(r"\[(?:FATAL|ERROR)\] (?P<what>.+)")


class OtherFileError(OSError):
    """A source has a file of that name with another content."""


def is_refusal(err: BaseException) -> bool:
    """Tell whether a server knows us not, or does not let us.

    Parameters
    ----------
    err
        What reading from it raised.
    """
    if isinstance(err, aiohttp.ClientResponseError):
        return err.status in _HTTP_REFUSAL
    if isinstance(err, PermissionError):
        return True
    answer = _ANSWER.search(str(err))
    refused = answer is not None and answer["code"] in _REFUSAL
    return refused or "Auth failed" in str(err)


def is_slow(err: BaseException) -> bool:
    """Tell whether a source did not answer in time.

    Parameters
    ----------
    err
        What reading from it raised.
    """
    return isinstance(err, TimeoutError | FSTimeoutError)


def worded(err: BaseException) -> str:  # noqa: PLR0911 - one for each kind
    """Return what a source did, for a report: in a few words, without file names.

    Parameters
    ----------
    err
        What reading from it raised.
    """
    if isinstance(err, CasaEnvError):
        return err.what
    if is_slow(err):
        return "no answer in time"
    if isinstance(err, FileNotFoundError):
        return "no such file"
    if isinstance(err, aiohttp.ClientResponseError):
        return f"answered {err.status} {err.message}"
    text = " ".join(str(err).split())
    if isinstance(err, OtherFileError):
        return text
    answer, fatal = _ANSWER.search(text), _FATAL.search(text)
    if answer is not None:
        detail = text[answer.end() :].rpartition(";")[2].strip()
        return f"{detail or 'refused'} [{answer['code']}]"
    return fatal["what"] if fatal else f"{type(err).__name__}: {text}"[:LONGEST]


def is_down(err: BaseException) -> bool:
    """Tell whether a failure is the host's rather than the file's.

    Parameters
    ----------
    err
        What reading from it raised.
    """
    if isinstance(err, aiohttp.ClientResponseError):
        return err.status in _HTTP_TROUBLE
    if isinstance(
        err, CredentialsError | FileNotFoundError | PermissionError | OtherFileError
    ):
        return False
    answer = _ANSWER.search(str(err))
    if answer is not None:
        return answer["code"] in _IN_TROUBLE
    return "Auth failed" not in str(err)


def no_source(origin: str, said: Sequence[tuple[str, Exception]]) -> NoSourceError:
    """Return the error for a file that no source delivered.

    Parameters
    ----------
    origin
        The file's last source.
    said
        What each source did.
    """
    looked_at = "; ".join(f"{host_of(url)}: {worded(err)}" for url, err in said)
    # the origin knows best, whatever is the matter with caches
    answers = [err for url, err in said if url == origin]
    if any(isinstance(e, FileNotFoundError) or _NOT_FOUND in str(e) for e in answers):
        what = f"There is no file {values.shown(origin)}."
        step = "Correct the fileset."
        return NothingThereError(what, looked_at=looked_at, next_step=step)
    steps = [err.next_step for _, err in said if isinstance(err, CredentialsError)]
    return NoSourceError(
        f"No source delivered {values.shown(origin)}.",
        looked_at=looked_at,
        next_step=steps[0]
        if steps
        else "`casa-env doctor` checks the site's services.",
    )
