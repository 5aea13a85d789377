"""The skim cache: of each input file, the events that some variation could select.

Running again with other binning, another fit or other cross-sections reads a few
events in a thousand instead of all of them. The histograms are the same to the bit
(see `agc.fast.preselection`).

A skim is a Parquet file, ``<key>/<sha256 of its content>.parquet``. The key is a digest
of everything that decides the content:

- the input file: its path or URL, the tree's name, ROOT's own unique identifier and
  size of the file; of a local file also the times of its last change;
- the branches and the types they are read as;
- the source of the modules that read and select, and the versions of the libraries.

So a skim is used only for what it was made of, and only if it is whole. What does not
decide the content is not in the key: the cross-section, the event counts, the binning.
A skim of something that has changed since is never read again; `clear_skims` frees
its space.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from agc.errors import UnreadableFileError
from agc.fast import columns, kernel, preselection, selection, tables
from agc.fast.columns import BRANCHES, Events, load_columns
from agc.fast.preselection import preselected, taken
from agc.fast.tables import events_of, table_of
from agc.inputs import columns as input_columns
from agc.inputs import described, rootfiles, variations
from agc.inputs.rootfiles import entries_and_uuid, openable, read_errors
from agc.ttbar import config, smearing

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["clear_skims", "load_skim", "skim_folder", "skims_bytes"]

logger = logging.getLogger(__name__)

#: Events that are read at once where a skim is made: about 20 MB of columns.
CHUNK_SIZE = 200_000

#: The modules whose source decides what is in a skim, besides this one.
MODULES = (
    columns,
    config,
    input_columns,
    kernel,
    preselection,
    described,
    rootfiles,
    selection,
    smearing,
    tables,
    variations,
)
#: The libraries whose version may.
LIBRARIES = ("awkward", "numba", "numpy", "pyarrow", "uproot")


class Skim(NamedTuple):
    """What is needed of an input file."""

    events: Events
    """The events that some variation could select."""
    entries: int
    """How many events the input file has."""
    bytes_read: int
    """Bytes read to get it: from the input file, or from the cache."""


def skim_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where skims are kept by default: in the user's cache."""
    root = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "casa-env" / "skims"


def load_skim(file: str, tree: str, folder: Path) -> Skim:
    """Return the preselected events of an input file, from the cache if they are there.

    They are in the file's order, with all their objects. What is not there is read from
    the file, a path or URL, and its skim put into the cache. On a laptop and on Binder
    the cache is a local folder, made where it is missing; at a facility each worker
    uses the folder of that path which it sees, so a folder on a shared disk serves all
    of them. Where it cannot be written, all works without it, and a warning is logged.

    Raises
    ------
    UnreadableFileError
        The file or a branch cannot be read. It is opened even if its skim is in the
        cache: a skim is not a reason to miss that the input has gone or changed.
    MissingTreeError, MissingBranchError
        The file has no such tree, or the tree lacks a branch that the analysis reads.
    """
    identity = _identity(file, tree)
    entry = folder / _digest([identity, _CODE])
    for kept in entry.glob("*.parquet"):
        try:
            content = kept.read_bytes()
        except OSError as error:
            logger.debug("skim %s cannot be read: %s", kept, error)
            continue
        if hashlib.sha256(content).hexdigest() == kept.stem:
            table = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
            return _skim(table, len(content))
        logger.debug("skim %s is damaged; it is made again", kept)
        with suppress(OSError):
            kept.unlink()
    table, bytes_read = _made(file, tree)
    if _identity(file, tree) == identity:
        _keep(table, entry)
    return _skim(table, bytes_read)


def skims_bytes(folder: Path) -> int:
    """Return the bytes that the skims in a folder take."""
    return sum(path.stat().st_size for path in folder.glob("*/*.parquet"))


def clear_skims(folder: Path) -> int:
    """Remove the skims of a folder, if it is there, and return the bytes that are free.

    An `OSError` says that a skim cannot be removed.
    """
    freed = 0
    for path in (*folder.glob("*/*.parquet"), *folder.glob("*/*.part")):
        freed += path.stat().st_size
        path.unlink()
        with suppress(OSError):
            path.parent.rmdir()
    return freed


def _identity(file: str, tree: str) -> list[Any]:
    """Return what tells one content of a file from another, from its first bytes."""
    try:
        name = openable(file)
        with uproot.reading.ReadOnlyFile(name) as root_file:
            identity = [file, tree, root_file.hex_uuid, root_file.fEND]
        if "://" not in name:
            status = Path(name).stat()
            identity += [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    except FileNotFoundError:
        raise UnreadableFileError(file, "there is no such file") from None
    except read_errors() as error:
        cause = f"it cannot be opened ({type(error).__name__}: {error})"
        raise UnreadableFileError(file, cause) from None
    return identity


def _code(modules: tuple[ModuleType, ...]) -> list[Any]:
    """Return what tells one version of the code from another."""
    return [
        *(
            hashlib.sha256(Path(str(m.__file__)).read_bytes()).hexdigest()
            for m in modules
        ),
        hashlib.sha256(Path(__file__).read_bytes()).hexdigest(),
        *(version(name) for name in LIBRARIES),
        [(name, np.dtype(dtype).str) for name, dtype in BRANCHES.items()],
    ]


#: Of the code as it was imported: a file that is edited afterwards does not count yet.
_CODE = _code(MODULES)


def _digest(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _made(file: str, tree: str) -> tuple[pa.Table, int]:
    """Read a whole file; return its skim and the bytes read."""
    entries = entries_and_uuid(file, tree, BRANCHES)["numentries"]
    parts: list[pa.Table] = []
    bytes_read = 0
    for start in range(0, max(entries, 1), CHUNK_SIZE):
        events, n_bytes = load_columns(
            file, tree, entry_start=start, entry_stop=start + CHUNK_SIZE
        )
        bytes_read += n_bytes
        parts.append(table_of(taken(events, preselected(events))))
    table = pa.concat_tables(parts).combine_chunks()
    about = {"file": file, "tree": tree, "entries": str(entries)}
    return table.replace_schema_metadata(about), bytes_read


def _skim(table: pa.Table, bytes_read: int) -> Skim:
    entries = int(table.schema.metadata[b"entries"])
    return Skim(events_of(table), entries, bytes_read)


def _keep(table: pa.Table, entry: Path) -> None:
    """Write a skim whole or not at all; a cache that cannot be is left out."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd", use_dictionary=False, write_statistics=False
    )
    content = sink.getvalue().to_pybytes()
    partial: Path | None = None
    try:
        entry.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=entry, suffix=".part", delete=False
        ) as file:
            partial = Path(file.name)
            file.write(content)
        partial.replace(entry / f"{hashlib.sha256(content).hexdigest()}.parquet")
    except OSError as error:
        logger.warning(
            "the skim cannot be kept (%s): the next run reads the whole file again",
            error,
        )
        if partial is not None:
            with suppress(OSError):
                partial.unlink()
