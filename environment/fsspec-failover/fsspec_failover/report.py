"""What was read from where: a report that processes add up."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

_K = TypeVar("_K")


@dataclass(frozen=True, order=True)
class Failover:
    """Reading went on from another source, because of what this one did."""

    failed: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ReadReport:
    """Files and bytes by source, and every failover with its reason.

    Its text is a table for people. Reports of several processes add up.
    """

    files: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """By host and port of the source: the files that were read from it."""

    n_bytes: Mapping[str, int] = field(default_factory=dict)
    """By host and port of the source: the bytes read."""

    failovers: Mapping[Failover, frozenset[str]] = field(default_factory=dict)
    """By source and reason: the files that were read elsewhere."""

    def __add__(self, other: ReadReport) -> ReadReport:
        """Add what another process has read."""
        return ReadReport(
            files=_joined(self.files, other.files),
            n_bytes=Counter(self.n_bytes) + Counter(other.n_bytes),
            failovers=_joined(self.failovers, other.failovers),
        )

    def __str__(self) -> str:
        """Return a table, one source a line, and the failovers below."""
        if not self.files and not self.failovers:
            return "files were read directly: no cache is configured"
        lines = [
            f"{len(files):7,d} files {self.n_bytes.get(host, 0) / 1e6:12,.1f} MB "
            f"from {host}"
            for host, files in sorted(self.files.items())
        ]
        lines += [
            f"{len(files):7,d} files not from {failover.failed}: {failover.reason}"
            for failover, files in sorted(self.failovers.items())
        ]
        return "\n".join(lines)

    @staticmethod
    def total(reports: Iterable[ReadReport]) -> ReadReport:
        """Add the reports of several processes up; none is a report of nothing."""
        return sum(reports, ReadReport())


def _joined(
    one: Mapping[_K, frozenset[str]], other: Mapping[_K, frozenset[str]]
) -> dict[_K, frozenset[str]]:
    """Return the union of files for each key of either."""
    none: frozenset[str] = frozenset()
    return {key: one.get(key, none) | other.get(key, none) for key in {**one, **other}}


class Ledger:
    """What a process has read; for all its threads.

    A file is called by its last source, its origin; a source by its host and port.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[str, set[str]] = {}
        self._bytes: Counter[str] = Counter()
        self._failovers: dict[tuple[str, str], Failover] = {}

    def read(self, host: str, file: str, n_bytes: int) -> None:
        """Note bytes that a source has delivered."""
        with self._lock:
            self._files.setdefault(host, set()).add(file)
            self._bytes[host] += n_bytes

    def failed_over(self, host: str, file: str, reason: str) -> None:
        """Note that a file is read elsewhere, because of what a source did."""
        with self._lock:
            # requests under way at the same time fail in several ways; the first counts
            self._failovers.setdefault((host, file), Failover(host, reason))

    def report(self, *, reset: bool = False) -> ReadReport:
        """Return what was read so far; the next report may begin anew."""
        with self._lock:
            moved: dict[Failover, set[str]] = {}
            for (_, file), failover in self._failovers.items():
                moved.setdefault(failover, set()).add(file)
            found = ReadReport(
                files={host: frozenset(files) for host, files in self._files.items()},
                n_bytes=dict(self._bytes),
                failovers={what: frozenset(files) for what, files in moved.items()},
            )
            if reset:
                self._files.clear()
                self._bytes.clear()
                self._failovers.clear()
        return found


#: What this process has read.
LEDGER: Final = Ledger()


def report(*, reset: bool = False) -> ReadReport:
    """Return what this process has read from where.

    Parameters
    ----------
    reset
        Begin anew, so that the next report is of what follows only.
    """
    return LEDGER.report(reset=reset)
