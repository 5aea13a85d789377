"""What the contract is told of an image, and a server started as a hub starts one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from single_user import SingleUser, single_user_server


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what cannot be seen from an image's inside."""
    group = parser.getgroup("contract")
    words = "the image's entrypoint, as one text"
    group.addoption("--entrypoint", default="", metavar="WORDS", help=words)
    version = "the hub's version of JupyterHub"
    group.addoption("--hub-version", default="", metavar="X.Y.Z", help=version)
    peer = "what `casa-env info --json` prints in the other image"
    group.addoption("--peer", type=Path, metavar="FILE", help=peer)


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Iterator[SingleUser]:
    """Start what a hub starts, through the image's entrypoint."""
    command = shlex.split(pytestconfig.getoption("--entrypoint"))
    if not command and find_spec("jupyter_server") is None:
        pytest.skip("Jupyter is not installed: an image for workers has none")
    command += ["jupyterhub-singleuser", *["--allow-root"] * (os.geteuid() == 0)]
    with single_user_server(command, pytestconfig.getoption("--hub-version")) as it:
        yield it


@pytest.fixture
def settings() -> Any:
    """Return the settings of this place, by casa_env."""
    why = "casa_env is not here: mount it, and name its folder in PYTHONPATH"
    return pytest.importorskip("casa_env", reason=why).load_settings()


@pytest.fixture
def peer(pytestconfig: pytest.Config) -> Path:
    """Return the file about the other image, notebook or worker."""
    if (file := pytestconfig.getoption("--peer")) is None:
        pytest.skip("give what `casa-env info --json` prints in the other as --peer")
    return Path(file)
