"""A clone stays clean in git while its notebooks are run and saved, and can be pulled.

Git is given the notebooks without what running them adds, by nbstripout. It does not
ask that filter about a file whose size changed, so each save has it look again.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

#: What a kernel says of its language when a notebook is saved; the name is in git.
_LANGUAGE: Final = " ".join(
    f"metadata.language_info.{key}"
    for key in (
        "codemirror_mode",
        "file_extension",
        "mimetype",
        "nbconvert_exporter",
        "pygments_lexer",
        "version",
    )
)
_STRIP: Final = ("-P", "-m", "nbstripout", "--keep-id", "--extra-keys", _LANGUAGE)
_one_at_a_time = threading.Lock()


def keep_clean(clone: Path) -> None:
    """Set up the filter of ``.gitattributes``, for this clone alone."""
    command = shlex.join((sys.executable, *_STRIP))
    _git(clone, "config", "filter.casa-notebook.clean", command)


def saved(*, os_path: str, model: dict[str, Any], **_: object) -> None:
    """Let git look at a notebook that Jupyter saved (``post_save_hook``)."""
    if model["type"] == "notebook":
        threading.Thread(target=_look_again, args=(Path(os_path),)).start()


def _look_again(notebook: Path) -> None:
    # What its user has edited is left for them to add, and so is a new notebook.
    with _one_at_a_time:
        if _git(notebook.parent, "diff", "--quiet", "--", notebook.name):
            _git(notebook.parent, "update-index", "--", notebook.name)


def _git(folder: Path, *arguments: str) -> bool:
    """Return whether git could and did; without it there is nothing to keep clean."""
    with contextlib.suppress(OSError):
        command = ["git", "-C", str(folder), *arguments]
        return not subprocess.run(command, check=False, capture_output=True).returncode  # noqa: S603
    return False
