"""What the tests of JupyterLab start from: a scratch clone and a new user."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Return a copy of what `make lab` uses, below a path with a space."""
    folder = tmp_path_factory.mktemp("lab") / "my clone"
    for part in ("environment/jupyter", "environment/dask", "notebooks/agc"):
        shutil.copytree(
            repository / part,
            folder / part,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    return folder


@pytest.fixture(scope="session")
def new_user(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variables of a user who has set nothing."""
    home = tmp_path_factory.mktemp("lab-home")
    return {"HOME": str(home), "LANG": "C.UTF-8", "PATH": os.defpath}


@pytest.fixture(scope="session")
def artefacts(repository: Path) -> Path:
    """Return the folder where screenshots are kept for people; not in git."""
    folder = os.environ.get("CASA_ARTEFACTS") or repository / ".ci" / "artefacts"
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path
