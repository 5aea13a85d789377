"""The programs that judge an image, in an environment of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def image_tools(repository: Path) -> Path:
    """Return the folder of programs that ``image.lock`` pins; install them once.

    Parameters
    ----------
    repository
        The repository's root; the environment goes below its ``.cache``.
    """
    lock = repository / "environment" / "image.lock"
    folder = repository / ".cache" / "image-tools"
    made_from = folder / "image.lock"
    if not made_from.is_file() or made_from.read_text() != lock.read_text():
        uv = [sys.executable, "-m", "uv", "--quiet"]
        python = ["--python", str(folder / "bin" / "python")]
        sync = ["pip", "sync", "--require-hashes", "--no-build", *python, str(lock)]
        for words in (
            ["venv", "--clear", "--python", sys.executable, str(folder)],
            sync,
        ):
            subprocess.run([*uv, *words], check=True, timeout=300)
        made_from.write_text(lock.read_text())
    return folder / "bin"
