"""ROOT files: opened, looked into, and read branch by branch into arrays."""

from __future__ import annotations

import lzma
import struct
import sys
import threading
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import cramjam
import uproot

from agc.errors import MissingBranchError, MissingTreeError, UnreadableFileError
from agc.inputs.described import classes_for

if TYPE_CHECKING:
    import awkward as ak
    import numpy.typing as npt

__all__ = [
    "entries_and_uuid",
    "load_arrays",
    "openable",
    "opened_tree",
    "read_errors",
    "tree_arrays",
]

_READ_ERRORS: tuple[type[Exception], ...] = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    IndexError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
    cramjam.DecompressionError,
    uproot.deserialization.DeserializationError,
    uproot.exceptions.KeyInFileError,
)


def read_errors() -> tuple[type[Exception], ...]:
    """Return what reading a damaged file, or off a bad server, is seen to raise.

    Those of aiohttp, with a URL and its secrets, only where it was imported.
    """
    http = sys.modules.get("aiohttp")
    return (*_READ_ERRORS, http.ClientError) if http else _READ_ERRORS


def openable(file: str) -> str:
    """Return what uproot opens: the path of a ``file:`` URL, decoded if it is encoded.

    RFC 8089 encodes spaces and more (``%20``); many write the path as it is.
    """
    path = file.removeprefix("file://")
    return path if path == file or Path(path).exists() else unquote(path)


@contextmanager
def opened_tree(
    file: str,
    treename: str,
    branches: Collection[str],
    **options: Any,  # noqa: ANN401 - uproot's own
) -> Iterator[tuple[Any, int]]:
    """Open a file and its tree while the block lasts; check that branches are there.

    Gives the tree, and the bytes that were requested of the file before. The file stays
    open for the thread's next piece of it, as long as it is the same file, near or far.
    Of a TTree no other branches are described: that would take longer than to read
    events. Options are those of `uproot.open`.

    Raises
    ------
    UnreadableFileError
        There is no such file, or it cannot be opened.
    MissingTreeError
        It has no such tree.
    MissingBranchError
        The tree lacks a branch.
    """
    stamp: Any = _stamp(file)
    key = file, treename, frozenset(branches)
    known, root_file, tree = _kept.files.pop(key, (None, None, None))
    before = root_file.file.source.num_requested_bytes if root_file else 0
    whole = False
    try:
        if root_file is None or options or known != (stamp or _begin(root_file)):
            _close(root_file)
            before, root_file = 0, None  # if it cannot be opened
            root_file = uproot.open(
                {openable(file): None},
                custom_classes=classes_for(branches),
                array_cache=None,
                **options,
            )
            tree = _tree_of(root_file, file, treename, branches)
            stamp = stamp or bytes(root_file.file.begin_chunk.raw_data)
        yield tree, before
        whole = not options
    except FileNotFoundError:
        raise UnreadableFileError(file, "there is no such file") from None
    except read_errors() as error:
        cause = f"it cannot be opened ({type(error).__name__}: {error})"
        raise UnreadableFileError(file, cause) from None
    finally:
        if whole:
            _kept.files[key] = stamp or known, root_file, tree
            if len(_kept.files) > _MOST_KEPT:
                _close(_kept.files.pop(next(iter(_kept.files)))[1])
        else:
            _close(root_file)


class _Kept(threading.local):
    """Files that a thread has read a piece of, the last one last."""

    def __init__(self) -> None:
        self.files: dict[Any, tuple[Any, Any, Any]] = {}


_kept = _Kept()
#: The next piece is one of the files that were read last.
_MOST_KEPT = 4


def _stamp(file: str) -> tuple[int, ...] | None:
    """Return what changes when a local file does; None for others."""
    try:
        status = Path(openable(file)).stat()
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _begin(root_file: Any) -> bytes | None:  # noqa: ANN401 - uproot's
    """Read the begin of a file on a server again, with the UUID that it was made with.

    None where the server does not answer: opening the file anew may find another.
    """
    begin, source = root_file.file.begin_chunk, root_file.file.source
    try:
        return bytes(source.chunk(begin.start, begin.stop).raw_data)
    except read_errors():
        return None


def _close(root_file: Any) -> None:  # noqa: ANN401 - uproot's
    if root_file is not None:
        root_file.close()


def _tree_of(
    root_file: Any,  # noqa: ANN401 - uproot's
    file: str,
    treename: str,
    branches: Collection[str],
) -> Any:  # noqa: ANN401 - a TTree or an RNTuple
    """Return a file's tree if it is one and has the branches."""
    if treename not in root_file:
        cause = f"no tree {treename!r} in it, but {_first(root_file)}"
        raise MissingTreeError(file, cause)
    tree = root_file[treename]
    if not hasattr(tree, "num_entries"):
        kind = root_file.classname_of(treename)
        cause = f"{treename!r} in it is no tree, but a {kind}"
        raise MissingTreeError(file, cause)
    there = set(tree.keys())
    missing = [name for name in branches if name not in there]
    if missing and not _is_empty(tree):
        raise MissingBranchError(file, f"no branch {', '.join(missing)}")
    return tree


def entries_and_uuid(
    file: str, treename: str, branches: Collection[str]
) -> dict[str, Any]:
    """Return ``"numentries"`` and ``"uuid"`` of a file's tree, as coffea names them."""
    with opened_tree(file, treename, branches) as (tree, _):
        return {"numentries": tree.num_entries, "uuid": tree.file.fUUID}


def load_arrays(
    file: str,
    treename: str,
    branches: Mapping[str, npt.DTypeLike],
    *,
    entry_start: int | None = None,
    entry_stop: int | None = None,
    **options: Any,  # noqa: ANN401 - uproot's own
) -> tuple[dict[str, ak.Array], int]:
    """Open a file and read some branches of a range of its events, as `tree_arrays`.

    Returns one array for each branch, and the bytes that were requested of the file.
    """
    with opened_tree(file, treename, branches, **options) as (tree, before):
        arrays = tree_arrays(tree, file, branches, entry_start, entry_stop)
        return arrays, tree.file.source.num_requested_bytes - before


def tree_arrays(
    tree: Any,  # noqa: ANN401 - a TTree or an RNTuple
    file: str,
    branches: Iterable[str],
    entry_start: int | None,
    entry_stop: int | None,
) -> dict[str, ak.Array]:
    """Read some branches of a range of an open tree's events, all at once.

    Raises
    ------
    UnreadableFileError
        A branch cannot be read.
    """
    import awkward as ak

    if _is_empty(tree):
        return {name: ak.Array([]) for name in branches}
    wanted = {"entry_start": entry_start, "entry_stop": entry_stop}
    try:
        arrays: dict[str, ak.Array] = tree.arrays(list(branches), how=dict, **wanted)
    except read_errors():
        # one by one: slower, but it tells which branch it is, or succeeds
        arrays = {name: _one_branch(tree[name], file, wanted) for name in branches}
    return arrays


def _one_branch(branch: Any, file: str, wanted: dict[str, Any]) -> ak.Array:  # noqa: ANN401 - a TBranch or an RField
    """Read one branch, or say why it cannot be read."""
    try:
        return branch.array(**wanted)
    except read_errors() as error:
        cause = f"branch {branch.name} cannot be read ({type(error).__name__}: {error})"
        raise UnreadableFileError(file, cause) from None


def _is_empty(tree: Any) -> bool:  # noqa: ANN401 - a TTree or an RNTuple
    """Tell whether there are no events and no branches: some jobs write such files."""
    return not tree.num_entries and not tree.keys()


def _first(root_file: Any, most: int = 8) -> str:  # noqa: ANN401 - uproot's
    """Name the first things that are in a file."""
    there = root_file.keys(cycle=False)
    more = f" and {len(there) - most} more" if len(there) > most else ""
    return (", ".join(there[:most]) or "nothing") + more
