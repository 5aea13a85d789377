"""Programs from npm that tests start: installed once, from a lock with hashes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.installed import made_once
from support.programs import required

FOLDER = Path(__file__).resolve().parents[1]

#: How long npm may take on a loaded machine, in seconds.
PATIENCE_S = 300.0


def node_modules(cache: Path) -> Path:
    """Return the folder of what ``package-lock.json`` pins, installing it if needed.

    Without npm the test skips on a user's machine and fails in CI.
    """
    lock, folder = (FOLDER / "package-lock.json").read_text(), cache / "node"
    with made_once(folder / "node_modules", lock) as missing:
        if missing:
            _install(folder)
    return folder / "node_modules"


def _install(folder: Path) -> None:
    npm = required("npm", package="npm")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(FOLDER / name, folder)
    subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"],
        cwd=folder,
        check=True,
        timeout=PATIENCE_S,
        capture_output=True,
    )
