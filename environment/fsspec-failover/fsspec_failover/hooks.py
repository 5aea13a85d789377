"""What a site has to say about a request: a token to send, options to read with.

Two functions, found by entry points of the group ``fsspec_failover`` and asked anew
for every request: ``token_for(url) -> str | None`` and ``options_for(url) -> dict``
with any of the fields of `Options`. Without them no token is sent and defaults hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any


class HookError(Exception):
    """A hook raised an error, which is the cause: its source cannot be read."""


@dataclass(frozen=True)
class Options:
    """How a source is read."""

    timeout_s: float = 10.0
    """How long to wait for a source before the next is tried, in seconds."""

    ca_dir: Path | None = None
    """A directory of certificate authorities that web servers may have, besides."""

    s3: Mapping[str, Any] = field(default_factory=dict)
    """Options of `s3fs.S3FileSystem`."""


@dataclass(frozen=True)
class Hooks:
    """The two functions that are asked for each request."""

    token_for: Callable[[str], str | None] = lambda _url: None
    options_for: Callable[[str], Mapping[str, Any]] = lambda _url: {}

    def token(self, url: str) -> str | None:
        """Return the token to send, if the URL's server may have one."""
        try:
            return self.token_for(url)
        except Exception as err:
            raise HookError(str(err)) from err

    def options(self, url: str) -> Options:
        """Return how to read a source."""
        try:
            return Options(**self.options_for(url))
        except Exception as err:
            raise HookError(str(err)) from err


@cache
def installed() -> Hooks:
    """Return the functions that installed packages have registered.

    Of two with one name that counts which is first on ``sys.path``, as of modules.
    """
    found = {
        entry.name: entry
        for entry in reversed([*entry_points(group="fsspec_failover")])
    }
    return Hooks(**{name: entry.load() for name, entry in found.items()})
