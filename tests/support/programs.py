"""Programs that tests start: without one a test skips, and in CI it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def required(program: str, *, package: str) -> str:
    """Return the path of a program that a package brings; without it, see `absent`."""
    found = shutil.which(program)
    if found is None:
        absent(f"the program {program} is missing: install {package}")
    return found


def required_root(why: str) -> None:
    """Skip the test of somebody who is not root, who alone can do something."""
    if os.geteuid() != 0:
        absent(f"only root can {why}")


def needed(*programs: str, packages: str) -> None:
    """Skip, or fail in CI, unless all programs are on PATH or where Debian has them."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    missing = [name for name in programs if shutil.which(name, path=path) is None]
    if missing:
        absent(f"no {', '.join(missing)}: apt install {packages}")


def beside_python(repository: Path, layer: str) -> Path:
    """Return the Python of an environment beside `.venv`, which is made if need be."""
    done = subprocess.run(
        [sys.executable, "-P", str(repository / "environment" / "install.py"), layer],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        absent(done.stderr)
    return repository / f".venv-{layer}" / "bin" / "python"


def run_beside(
    python: Path, notebook: Path, folder: Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a notebook to its end by such a Python; ``results`` in the folder is its."""
    words = ["run", str(notebook), "--output", str(folder / "n.ipynb")]
    words += ["-p", f"OUTPUT_FOLDER={folder / 'results'}"]
    done = subprocess.run(
        [python, "-P", "-m", "casa_env", *words],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def absent(reason: str) -> NoReturn:
    """Skip on a user's machine, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
