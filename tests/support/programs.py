"""Programs that tests start: without one a test skips, and in CI it fails."""

from __future__ import annotations

import os
import shutil

import pytest


def needed(*programs: str, packages: str) -> None:
    """Skip, or fail in CI, unless all programs are on PATH or where Debian has them."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if missing:
        absent(f"no {', '.join(missing)}: apt install {packages}")


def absent(reason: str) -> None:
    """Skip on a user's machine, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
