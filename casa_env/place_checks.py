"""Checks of the place itself: what is installed, room on disk, memory."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from casa_env.checks import Check, Status
from casa_env.settings import Settings

__all__ = ["caches", "disk", "environment", "memory"]

#: Below this much, the analysis and its caches get into trouble.
LITTLE_DISK_BYTES: Final = 2_000_000_000
LITTLE_MEMORY_BYTES: Final = 1_000_000_000


def environment() -> Check:
    """Tell which Python this is and what is installed in it."""
    from casa_env.workers.sameness import environment_here

    here = environment_here()
    evidence = (
        f"Python {here.python} on {here.platform}, {len(here.packages)} packages, "
        f"id {here.id}"
    )
    return Check(name="environment", status=Status.OK, evidence=evidence)


def caches() -> Check:
    """Find out whether programs can write their caches."""
    from casa_env.settings.places import writable_environment

    extra, reason = writable_environment(os.environ)
    if not extra:
        evidence = "the home directory can be written"
        return Check(name="caches", status=Status.OK, evidence=evidence)
    return Check(
        name="caches",
        status=Status.WARNING,
        evidence=reason,
        next_step="`casa-env run` and `make` see to that; elsewhere set "
        f"{', '.join(list(extra)[:2])} and so on, or HOME.",
    )


def disk() -> Check:
    """Look how much room there is in the working directory and for temporary files."""
    import tempfile

    folders = [Path.cwd(), Path(tempfile.gettempdir())]
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    least = min(free, key=lambda folder: free[folder])
    little = free[least] < LITTLE_DISK_BYTES
    return Check(
        name="disk",
        status=Status.WARNING if little else Status.OK,
        evidence=f"{free[least] / 1e9:.1f} GB free below {least}",
        next_step="Make room, or set TMPDIR to a larger disk." if little else "",
    )


def memory(settings: Settings) -> Check:
    """Look how much memory this session may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if find_spec("distributed"):  # it knows the limits of containers, too
        from distributed.system import MEMORY_LIMIT

        total = min(total, MEMORY_LIMIT)
    limit = settings.memory_limit_bytes
    usable = min(total, limit) if limit else total
    source = f"limit from {settings.origin('memory_limit_bytes')}" if limit else "all"
    little = usable < LITTLE_MEMORY_BYTES
    return Check(
        name="memory",
        status=Status.WARNING if little else Status.OK,
        evidence=f"{usable / 1e9:.1f} GB ({source}) of {total / 1e9:.1f} GB",
        next_step="Ask for more when you start the session." if little else "",
    )
