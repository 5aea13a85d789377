"""What a ROOT file shows when it is opened, before anything of it is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import uproot

from agc.columns import BRANCHES, READ_ERRORS, require_branches
from agc.errors import MissingTreeError, UnreadableFileError

__all__ = ["entries_and_uuid"]


def entries_and_uuid(
    file: str, treename: str, branches: Iterable[str] = BRANCHES
) -> dict[str, Any]:
    """Open a file and its tree; check that the branches are there.

    Parameters
    ----------
    file, treename
        Path or URL of a ROOT file, and the name of the TTree or RNTuple in it.
    branches
        What must be there.

    Returns
    -------
    dict
        ``"numentries"`` and ``"uuid"``, as coffea names them.

    Raises
    ------
    UnreadableFileError
        There is no such file, or it cannot be opened.
    MissingTreeError
        It has no such tree.
    MissingBranchError
        The tree lacks a branch that the analysis reads.
    """
    try:
        with uproot.open({file: None}) as root_file:
            if treename not in root_file:
                there = ", ".join(root_file.keys(cycle=False)) or "nothing"
                cause = f"no tree {treename!r} in it, but {there}"
                raise MissingTreeError(file, cause)
            tree = root_file[treename]
            require_branches(set(tree.keys()), file, branches)
            return {"numentries": tree.num_entries, "uuid": root_file.file.fUUID}
    except FileNotFoundError as error:
        raise UnreadableFileError(file, "there is no such file") from error
    except READ_ERRORS as error:
        cause = f"it cannot be opened ({type(error).__name__}: {error})"
        raise UnreadableFileError(file, cause) from error
