"""Values of settings: from text or TOML to Python, and back to text without secrets."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Final

__all__ = [
    "boolean",
    "integer",
    "number",
    "path",
    "secret",
    "shown",
    "size_bytes",
    "text",
    "texts",
]

_TRUE: Final = {"1", "true", "yes", "on"}
_FALSE: Final = {"0", "false", "no", "off"}

#: Decimal and binary units as Dask and Kubernetes write them.
_UNITS: Final = {
    "": 1,
    **{f"{p}b": 10 ** (3 * i) for i, p in enumerate(["", "k", "m", "g", "t"])},
    **{f"{p}ib": 2 ** (10 * i) for i, p in enumerate(["", "k", "m", "g", "t"]) if i},
    **{p: 10 ** (3 * i) for i, p in enumerate(["", "k", "m", "g", "t"]) if i},
    **{f"{p}i": 2 ** (10 * i) for i, p in enumerate(["", "k", "m", "g", "t"]) if i},
}
_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d*)?)\s*([A-Za-z]*)\s*")
_URL_SECRETS: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*://)(?P<user>[^/?#]*@)?(?P<rest>[^?#]*)"
    r"(?P<query>[?][^#]*)?(?P<fragment>#.*)?",
    re.IGNORECASE | re.DOTALL,
)


def text(raw: object) -> str:
    """Return text, stripped.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(raw, str):
        msg = "expected text"
        raise ValueError(msg)  # noqa: TRY004 - a wrong value; one type to catch
    return raw.strip()


def secret(raw: object) -> str:
    """Return text as it is: what may stand around a secret is its reader's rule.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if not isinstance(raw, str):
        msg = "expected text"
        raise ValueError(msg)  # noqa: TRY004 - a wrong value; one type to catch
    return raw


def texts(raw: object) -> tuple[str, ...]:
    """Return several texts, from a list or from text with commas between.

    Raises
    ------
    ValueError
        If it is something else.
    """
    parts = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(parts, list | tuple) or not all(
        isinstance(part, str) for part in parts
    ):
        msg = "expected a list of texts"
        raise ValueError(msg)
    return tuple(part.strip() for part in parts if part.strip())


def boolean(raw: object) -> bool:
    """Return true or false, from a boolean or from 1/0, yes/no, on/off.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(raw, bool):
        return raw
    word = raw.strip().lower() if isinstance(raw, str) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    msg = "expected true or false"
    raise ValueError(msg)


def integer(raw: object) -> int:
    """Return a whole number that is not negative.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(raw, str) and raw.strip().isascii() and raw.strip().isdigit():
        return int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        return raw
    msg = "expected a whole number, 0 or more"
    raise ValueError(msg)


def number(raw: object) -> float:
    """Return a finite number that is not negative.

    Raises
    ------
    ValueError
        If it is something else.
    """
    value = math.nan
    if isinstance(raw, int | float | str) and not isinstance(raw, bool):
        try:
            value = float(raw)
        except (OverflowError, ValueError):
            value = math.nan
    if not math.isfinite(value) or value < 0:
        msg = "expected a number, 0 or more"
        raise ValueError(msg)
    return value


def size_bytes(raw: object) -> int:
    """Return a number of bytes, from a whole number or from text with a unit.

    Raises
    ------
    ValueError
        If it is something else.

    Examples
    --------
    >>> size_bytes("2 GB"), size_bytes("1.5GiB"), size_bytes(1024)
    (2000000000, 1610612736, 1024)
    """
    if isinstance(raw, int) and not isinstance(raw, bool) and raw >= 0:
        return raw
    match = _SIZE.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or match[2].lower() not in _UNITS:
        msg = 'expected a size such as "2 GB", "1.5 GiB" or a number of bytes'
        raise ValueError(msg)
    value: float = float(match[1]) * _UNITS[match[2].lower()]
    if not math.isfinite(value):
        msg = "expected a finite size"
        raise ValueError(msg)
    return round(value)


def path(raw: object) -> Path | None:
    """Return a path, or ``None`` for empty text; ``~`` is left to the caller.

    Raises
    ------
    ValueError
        If it is something else.
    """
    if isinstance(raw, Path):
        return raw
    name = text(raw)
    if "\0" in name:
        msg = "expected a path, without null characters"
        raise ValueError(msg)
    return Path(name) if name else None


def shown(value: object) -> str:
    """Return a value for people to read, without what a URL may hide.

    Parameters
    ----------
    value
        A setting's value.

    Returns
    -------
    str
        Text in quotes, tuples as lists, ``""`` for an absent path: as TOML writes
        it. User names, passwords and queries of URLs are replaced by ``***``.

    Examples
    --------
    >>> print(shown("https://alice:secret@mlflow.example.org/x?token=abc"))
    "https://***@mlflow.example.org/x?***"
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(shown(part) for part in value) + "]"
    if isinstance(value, str | Path) or value is None:
        plain = "" if value is None else str(value)
        # TOML has JSON's escapes, and wants one more character escaped.
        quoted = json.dumps(_redacted(plain), ensure_ascii=False)
        return quoted.replace("\x7f", "\\u007f")
    return str(value)


def _redacted(value: str) -> str:
    """Return text with the secret parts of a URL replaced."""
    match = _URL_SECRETS.fullmatch(value)
    if match is None:
        return value
    user = "***@" if match["user"] else ""
    query = "?***" if match["query"] else ""
    return f"{match['scheme']}{user}{match['rest']}{query}{match['fragment'] or ''}"
