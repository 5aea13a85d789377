"""The two images of a test session, and containers of them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import requests

from support.engine import Engine

#: How long something in a container may take on a loaded machine, in seconds.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Container:
    """A container that is running."""

    engine: Engine
    name: str

    def log(self) -> str:
        """Return what it has written so far."""
        done = self.engine.attempt("logs", self.name)
        return done.stdout + done.stderr

    def address(self) -> str:
        """Return its address on the session's network."""
        networks = self.inspect()["NetworkSettings"]["Networks"]
        return str(networks[self.engine.network]["IPAddress"])

    def inspect(self) -> dict[str, Any]:
        """Return all that the engine knows of it."""
        (found,) = json.loads(self.engine.command("inspect", self.name))
        return dict(found)

    def execute(self, *words: str) -> str:
        """Run a command in it."""
        return self.engine.command("exec", self.name, *words)

    def wait_for(self, text: str) -> str:
        """Wait until it has written something; return all that it has written."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in (written := self.log()):
            alive = self.inspect()["State"]["Running"]
            if not alive or time.monotonic() > deadline:
                msg = f"no {text!r}:\n{written}"
                raise AssertionError(msg)
            time.sleep(0.1)
        return written

    def wait_until_answers(self, url: str) -> float:
        """Wait until a page is there; return for how long, in seconds."""
        began = time.monotonic()
        while time.monotonic() < began + PATIENCE_S:
            with contextlib.suppress(requests.ConnectionError):
                if requests.get(url, timeout=PATIENCE_S).ok:
                    return time.monotonic() - began
            time.sleep(0.05)
        msg = f"{url} does not answer:\n{self.log()}"
        raise AssertionError(msg)


@dataclass(frozen=True)
class Images:
    """Both images, by the tag of this session."""

    engine: Engine
    tag: str
    options: tuple[str, ...]
    """What `docker build` needs here: the base image, and the network."""

    @property
    def lab(self) -> str:
        return f"casa-lab:{self.tag}"

    @property
    def worker(self) -> str:
        return f"casa-worker:{self.tag}"

    def run(
        self, image: str, words: Sequence[str], *options: str, timeout: float = 600
    ) -> str:
        """Run a command in a container without a network; return what it printed."""
        return self.engine.command(*_run(image, words, options), timeout=timeout)

    def attempt(
        self, image: str, words: Sequence[str], *options: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a container without a network; return how it ended."""
        return self.engine.attempt(*_run(image, words, options))

    @contextlib.contextmanager
    def running(
        self, image: str, words: Sequence[str] = (), *options: str
    ) -> Iterator[Container]:
        """Run a container on the session's network while the block lasts."""
        network = f"--network={self.engine.network}"
        command = ("run", "--detach", network, *options, image, *words)
        name = self.engine.command(*command).strip()
        try:
            yield Container(self.engine, name)
        finally:
            self.engine.command("rm", "--force", name)

    def derived(self, name: str, dockerfile: str) -> str:
        """Build an image on top of another, without a context; return its name."""
        image = f"{name}:{self.tag}"
        subprocess.run(
            [self.engine.docker, "build", "--network=none", "--tag", image, "-"],
            input=dockerfile,
            env=self.engine.environ,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        )
        return image

    def inspect(self, image: str) -> dict[str, Any]:
        """Return all that the engine knows of an image."""
        (found,) = json.loads(self.engine.command("image", "inspect", image))
        return dict(found)


def _run(image: str, words: Sequence[str], options: Sequence[str]) -> tuple[str, ...]:
    """Return the engine's command for a container that ends by itself."""
    return ("run", "--rm", "--network=none", *options, image, *words)
