"""NanoAOD columns: their types and precision, and a checksum of them.

Columns are plain arrays: one value per event, or, for the columns of a collection, the
values of all events one after the other, with the counts in ``n<Collection>``.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = [
    "Columns",
    "collection_columns",
    "concatenated",
    "content_digest",
    "rounded",
]

#: Columns by branch name.
Columns: TypeAlias = "dict[str, NDArray[np.generic]]"

#: Bits of the mantissa that are kept, as NanoAOD does it (10 for momenta, 12 for
#: angles, 8 for generated particles); what the analysis cannot resolve would be most
#: of a file's bytes.
_DEFAULT_BITS = 10
_BITS = {"eta": 12, "phi": 12, "btagCSVV2": 10, "qgl": 8, "sip3d": 8}
_BITS_OF_TRUTH = 8
_FLOAT32_MANTISSA = 23


def rounded(values: NDArray[np.float64], bits: int) -> NDArray[np.float32]:
    """Round to a number of mantissa bits.

    Parameters
    ----------
    values
        Finite numbers.
    bits
        Bits of the mantissa to keep, at most 22.

    Returns
    -------
    numpy.ndarray of float32
        The nearest numbers whose lower bits are zero, which compress well.
    """
    dropped = _FLOAT32_MANTISSA - bits
    raw = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    half = np.uint32(1 << (dropped - 1))
    mask = np.uint32(0xFFFFFFFF ^ ((1 << dropped) - 1))
    return ((raw + half) & mask).view(np.float32)


def collection_columns(
    name: str,
    event: NDArray[np.int64],
    values: dict[str, NDArray[np.generic]],
    keep: NDArray[np.bool_],
) -> Columns:
    """Return the branches of a collection for the events that are kept.

    Parameters
    ----------
    name
        The collection, for example ``"Jet"``.
    event
        Each object's event, increasing.
    values
        Column name to one value per object.
    keep
        Which events to keep.

    Returns
    -------
    dict of str to numpy.ndarray
        The counts and one branch per column; floating point as rounded float32.
    """
    chosen = keep[event]
    counts = np.bincount(event[chosen], minlength=len(keep))[keep]
    columns: Columns = {f"n{name}": counts.astype(np.int32)}
    for column, array in values.items():
        kept = array[chosen]
        if np.issubdtype(kept.dtype, np.floating):
            bits = _BITS.get(column, _DEFAULT_BITS)
            bits = _BITS_OF_TRUTH if name == "GenPart" else bits
            kept = rounded(kept.astype(np.float64), bits)
        columns[f"{name}_{column}"] = kept
    return columns


def concatenated(parts: Iterable[Columns]) -> Columns:
    """Return the events of several parts, one after the other.

    Parameters
    ----------
    parts
        At least one set of columns, all with the same names.

    Returns
    -------
    dict of str to numpy.ndarray
        The same names.
    """
    parts = list(parts)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def content_digest(columns: Columns) -> str:
    """Return a checksum of names, types and values.

    Parameters
    ----------
    columns
        NanoAOD columns.

    Returns
    -------
    str
        SHA-256 in hexadecimal. It does not depend on the order of the columns, on the
        compression, on the file format or on the machine's byte order.
    """
    digest = hashlib.sha256()
    for name in sorted(columns):
        array = columns[name].astype(columns[name].dtype.newbyteorder("<"))
        digest.update(f"{name}:{array.dtype.name}:{len(array)}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
