"""The programs that judge an image, in an environment of their own."""

from __future__ import annotations

from pathlib import Path

from support.installed import locked_environment


def image_tools(repository: Path) -> Path:
    """Return the folder of programs that ``image.lock`` pins; install them once."""
    lock = repository / "environment" / "image.lock"
    folder = repository / ".cache" / "image-tools"
    return locked_environment(lock, folder, what="what judges an image") / "bin"
