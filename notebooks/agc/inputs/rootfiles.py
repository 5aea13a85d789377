"""ROOT files: opened, looked into, and read branch by branch into arrays."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import cramjam
import uproot

from agc.errors import MissingBranchError, MissingTreeError, UnreadableFileError

if TYPE_CHECKING:
    import awkward as ak
    import numpy.typing as npt

__all__ = [
    "READ_ERRORS",
    "entries_and_uuid",
    "load_arrays",
    "opened_tree",
    "tree_arrays",
]

#: What reading a damaged file, or a file on a failing server, has been seen to raise.
READ_ERRORS = (
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


@contextmanager
def opened_tree(
    file: str,
    treename: str,
    branches: Collection[str],
    **options: Any,  # noqa: ANN401 - uproot's own
) -> Iterator[Any]:
    """Open a file and its tree while the block lasts; check that branches are there.

    Options are those of `uproot.open`.

    Raises
    ------
    UnreadableFileError
        There is no such file, or it cannot be opened.
    MissingTreeError
        It has no such tree.
    MissingBranchError
        The tree lacks a branch.
    """
    try:
        with uproot.open({file: None}, **options) as root_file:
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
            yield tree
    except FileNotFoundError as error:
        raise UnreadableFileError(file, "there is no such file") from error
    except READ_ERRORS as error:
        cause = f"it cannot be opened ({type(error).__name__}: {error})"
        raise UnreadableFileError(file, cause) from error


def entries_and_uuid(
    file: str, treename: str, branches: Collection[str]
) -> dict[str, Any]:
    """Return ``"numentries"`` and ``"uuid"`` of a file's tree, as coffea names them."""
    with opened_tree(file, treename, branches) as tree:
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
    """Open a file and read some branches of a range of its events, as `tree_arrays`."""
    with opened_tree(file, treename, branches, **options) as tree:
        return tree_arrays(tree, file, branches, entry_start, entry_stop)


def tree_arrays(
    tree: Any,  # noqa: ANN401 - a TTree or an RNTuple
    file: str,
    branches: Iterable[str],
    entry_start: int | None,
    entry_stop: int | None,
) -> tuple[dict[str, ak.Array], int]:
    """Read some branches of a range of an open tree's events, all at once.

    Returns one array for each branch, and the bytes that were requested of the file.

    Raises
    ------
    UnreadableFileError
        A branch cannot be read.
    """
    import awkward as ak

    if _is_empty(tree):
        return {name: ak.Array([]) for name in branches}, 0
    wanted = {"entry_start": entry_start, "entry_stop": entry_stop}
    try:
        arrays = tree.arrays(list(branches), how=dict, **wanted)
    except READ_ERRORS:
        # one by one: slower, but it tells which branch it is, or succeeds
        arrays = {name: _one_branch(tree[name], file, wanted) for name in branches}
    return arrays, tree.file.source.num_requested_bytes


def _one_branch(branch: Any, file: str, wanted: dict[str, Any]) -> ak.Array:  # noqa: ANN401 - a TBranch or an RField
    """Read one branch, or say why it cannot be read."""
    try:
        return branch.array(**wanted)
    except READ_ERRORS as error:
        cause = f"branch {branch.name} cannot be read ({type(error).__name__}: {error})"
        raise UnreadableFileError(file, cause) from error


def _is_empty(tree: Any) -> bool:  # noqa: ANN401 - a TTree or an RNTuple
    """Tell whether there are no events and no branches: some jobs write such files."""
    return not tree.num_entries and not tree.keys()


def _first(root_file: Any, most: int = 8) -> str:  # noqa: ANN401 - uproot's
    """Name the first things that are in a file."""
    there = root_file.keys(cycle=False)
    more = f" and {len(there) - most} more" if len(there) > most else ""
    return (", ".join(there[:most]) or "nothing") + more
