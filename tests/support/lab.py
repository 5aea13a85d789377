"""A real JupyterLab, started and stopped as its user would."""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest
import requests

#: How long a server may take to start, answer or stop on a loaded machine, in seconds.
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Lab:
    """A JupyterLab that is running."""

    url: str
    """As it was printed: with page and token."""

    printed: str
    """All that was printed until then."""

    process: psutil.Popen
    """The server."""

    @property
    def root(self) -> str:
        """The base URL, ending in a slash."""
        return re.split(r"(?<=/)lab(?=[/?])", self.url)[0]

    @property
    def token(self) -> str:
        """What logs a user in."""
        return parse_qs(urlsplit(self.url).query)["token"][0]

    def request(
        self, method: str, path: str, *, token: str | None = None
    ) -> requests.Response:
        """Ask the server, by default as the user who has the token."""
        headers = {"Authorization": f"token {token or self.token}"}
        return requests.request(
            method, self.root + path, headers=headers, timeout=PATIENCE_S
        )


@contextmanager
def running_lab(
    command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> Iterator[Lab]:
    """Start a JupyterLab; stop it, and fail where something stays behind."""
    with tempfile.TemporaryFile("w+") as log:
        process = psutil.Popen(
            command,
            env=dict(environment),
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield _once_it_answers(process, log)
        finally:
            stop(process)


def _once_it_answers(process: psutil.Popen, log: TextIO) -> Lab:
    """Wait for the URL that Jupyter prints, and until it can be opened."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        log.seek(0)
        printed = log.read()
        if found := re.search(r"http://127\.0\.0\.1\S+token=\w+", printed):
            lab = Lab(found.group(), printed, process)
            with suppress(requests.ConnectionError):
                lab.request("GET", "api/status").raise_for_status()
                return lab
        time.sleep(0.2)
    log.seek(0)
    pytest.fail(f"JupyterLab printed no URL:\n{log.read()}")


def stop(process: psutil.Popen) -> None:
    """Stop a server as its user would; fail where something stays behind."""
    if not process.is_running():
        return
    family = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=PATIENCE_S)
    for orphan in left:
        orphan.kill()
    assert not left, f"still running after the server stopped: {left}"
