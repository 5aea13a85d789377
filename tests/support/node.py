"""Programs from npm that tests start: installed once, from a lock with hashes."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1]

#: How long npm may take on a loaded machine, in seconds.
PATIENCE_S = 300.0


def node_modules(cache: Path) -> Path:
    """Return the folder of what ``package-lock.json`` pins, installing it if needed.

    Without npm the test skips on a user's machine and fails in CI.
    """
    lock = (FOLDER / "package-lock.json").read_text()
    folder, made_from = cache / "node", cache / "node" / "made-from.json"
    if made_from.is_file() and made_from.read_text() == lock:
        return folder / "node_modules"
    if shutil.which("npm") is None:
        reason = "no npm: apt install npm"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / name, folder)
    subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"],
        cwd=folder,
        check=True,
        timeout=PATIENCE_S,
        capture_output=True,
    )
    made_from.write_text(lock)
    return folder / "node_modules"
