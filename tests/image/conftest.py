"""The images, built once; an engine to run them on; figures, printed at the end.

Where no engine runs and none can be started nothing here is run, and that is said: in
the terminal, and in a file that CI's summary looks at.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from support.base_image import base
from support.engine import Engine, NoEngineError, engine
from support.figures import Figures
from support.images import Images

FIGURES = Figures()

#: How long both images may take to build on a loaded machine, in seconds.
BUILD_S = 1800.0


def artefacts(repository: Path) -> Path:
    """Return the folder of what people look at after a run; not in git."""
    folder = Path(os.environ.get("CASA_ARTEFACTS") or repository / ".ci" / "artefacts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def figures() -> Figures:
    return FIGURES


@pytest.fixture(scope="session")
def docker(repository: Path) -> Iterator[Engine]:
    """Give an engine; end the session, loudly but well, where there is none."""
    note = artefacts(repository) / "image-not-tested.txt"
    note.unlink(missing_ok=True)
    try:
        with engine() as found:
            yield found
    except NoEngineError as err:
        give_up(repository, err)


def give_up(repository: Path, err: NoEngineError) -> NoReturn:
    """End the session, loudly but well."""
    (artefacts(repository) / "image-not-tested.txt").write_text(f"{err}\n")
    pytest.exit(f"THE IMAGE IS NOT TESTED: {err}", returncode=0)


@pytest.fixture(scope="session")
def images(
    docker: Engine, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Images:
    """Build both images as `make image` does; the first time of all is measured.

    With ``CASA_IMAGE_TAG`` they have been built, and these are what is tested.
    """
    if built := os.environ.get("CASA_IMAGE_TAG"):
        return Images(docker, tag=built, options=())
    began = time.monotonic()
    try:
        standing_on = base(docker, tmp_path_factory.mktemp("base"))
    except NoEngineError as err:
        give_up(repository, err)
    FIGURES.add("base image", time.monotonic() - began, "s", note=standing_on)
    options = (f"--build-arg=BASE={standing_on}", "--network=host")
    tag = f"test-{os.getpid()}"
    began = time.monotonic()
    done = subprocess.run(
        [
            *(sys.executable, str(repository / "environment" / "image.py")),
            *("--docker", docker.docker, "--tag", tag, "--", *options),
        ],
        env=docker.environ,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    took = time.monotonic() - began
    FIGURES.add("both images, from an empty cache", took, "s", target=360)
    return Images(docker, tag=tag, options=options)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if FIGURES.rows:
        terminalreporter.section("measured")
        terminalreporter.write_line(FIGURES.table())
