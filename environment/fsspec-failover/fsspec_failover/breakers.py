"""A breaker for each host: what is known to be down is not asked for every file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

#: How long a host that failed is left alone, in seconds; twice as long each time.
FIRST_REST_S: Final = 60.0
LONGEST_REST_S: Final = 600.0


@dataclass
class _Broken:
    """A host that failed."""

    until: float
    rest_s: float
    reason: str
    tried_again: bool = False


class Breakers:
    """Which hosts are left alone for now; for all threads of a process.

    When a host's rest is over, one request tries it, and the others go on leaving it
    alone until that one has succeeded.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._broken: dict[str, _Broken] = {}

    def resting(self, host: str) -> str:
        """Return why a host is to be left alone, empty if it may be asked."""
        now = self._clock()
        with self._lock:
            broken = self._broken.get(host)
            if broken is None:
                return ""
            if now < broken.until:
                return broken.reason
            broken.until = now + broken.rest_s  # who asks now tries for all
            broken.tried_again = True
            return ""

    def failed(self, host: str, reason: str) -> None:
        """Leave a host alone from now on, because of what it did."""
        with self._lock:
            before = self._broken.get(host)
            rest = FIRST_REST_S
            if before is not None:
                # several requests that were under way count as one failure
                rest = before.rest_s * (2 if before.tried_again else 1)
                rest = min(rest, LONGEST_REST_S)
            self._broken[host] = _Broken(self._clock() + rest, rest, reason)

    def succeeded(self, host: str) -> None:
        """Ask a host again as any other."""
        if host in self._broken:
            with self._lock:
                self._broken.pop(host, None)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._broken.clear()


#: Which hosts this process leaves alone.
BREAKERS: Final = Breakers()
