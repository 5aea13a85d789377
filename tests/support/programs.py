"""Programs that tests start: where one is missing, CI fails and a user's test skips."""

from __future__ import annotations

import os
import shutil

import pytest


def required(program: str, *, package: str) -> str:
    """Return the path of a program.

    Parameters
    ----------
    program
        Its name on PATH.
    package
        What it comes in, for the message.
    """
    found = shutil.which(program)
    if found is None:
        message = f"the program {program} is missing: install {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


def required_root(why: str) -> None:
    """Skip the test of somebody who is not root; fail in CI.

    Parameters
    ----------
    why
        What only root can do, for the message.
    """
    if os.geteuid() != 0:
        message = f"only root can {why}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
