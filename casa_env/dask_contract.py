"""The contract's check of Dask's configuration: keys that nothing reads."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from casa_env.checks import Check, Status
from casa_env.settings.table import nearest

__all__ = ["dask_keys", "unread"]

#: Packages that bring their own keys, read once they are imported.
PACKAGES: Final = (
    "distributed",
    "dask.array",
    "dask.dataframe",
    "dask_gateway",
    "dask_jobqueue",
    "dask_labextension",
)

#: Keys below which anything may stand, and keys that are read but have no default.
FREE: Final = (
    "config",  # where configuration was read from, set by Dask itself
    "distributed.logging",  # names of loggers
    "distributed.nanny.pre-spawn-environ",  # names of variables
    "distributed.scheduler.default-task-durations",  # names of tasks
    "distributed.worker.resources",  # names of resources
    "gateway.cluster.options",  # what the gateway offers
    "gateway.http-client.proxy",
    "labextension",  # the panel hands them on
    "logging",  # the logging module's own configuration
    "pool",
    "num-workers",
    "root-config",
    "scheduler",
    "scheduler-address",
    "temporary-directory",
)

#: Names are worth a hint if they are this near: the last part of a key.
MOST_NAMED: Final = 5


def dask_keys(environ: Mapping[str, str] | None = None) -> Check:
    """Check that something reads each key of Dask's configuration.

    Dask takes any key without a word; what is misspelt is silently ignored.

    Parameters
    ----------
    environ
        The environment variables to look at; by default those of this process.
    """
    if find_spec("dask") is None:
        evidence = "dask is not installed"
        return Check(name="dask-keys", status=Status.OFF, evidence=evidence)
    import dask

    with warnings.catch_warnings():
        # What dask-labextension makes when it is imported wants an event loop.
        warnings.simplefilter("ignore", DeprecationWarning)
        for package in PACKAGES:
            if find_spec(package.partition(".")[0]):
                try:
                    importlib.import_module(package)
                except ImportError:  # an optional part of it is not installed
                    continue
    environ = os.environ if environ is None else environ
    places = [Path(path) for path in dask.config.paths]
    written = dask.config.collect(paths=[str(path) for path in places], env=environ)
    wrong = unread(written, dask.config.defaults)
    files = ", ".join(str(place) for place in places if place.exists())
    where = f"{files or 'no file'} and DASK_* variables"
    if not wrong:
        evidence = f"{where}: {len(list(_leaves(written)))} keys, each is read"
        return Check(name="dask-keys", status=Status.OK, evidence=evidence)
    named = "; ".join(f"{key} (perhaps {near})" for key, near in wrong[:MOST_NAMED])
    return Check(
        name="dask-keys",
        status=Status.FAILED,
        evidence=f"{where}: nothing reads {named}",
        next_step="Correct the key, or remove it.",
    )


def unread(
    written: Mapping[str, Any], defaults: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Return the keys that nothing reads, each with the known key most like it.

    Parameters
    ----------
    written
        What files and variables hold, nested as in YAML.
    defaults
        What Dask's packages declare.

    Examples
    --------
    >>> unread({"array": {"slicng": 1}}, [{"array": {"slicing": {"split": None}}}])
    [('array.slicng', 'array.slicing')]
    """
    known: set[str] = set()
    for default in defaults:
        for key in _leaves(default):
            parts = key.split(".")
            known |= {".".join(parts[: n + 1]) for n in range(len(parts))}
    ends = {key for key in known if not any(k.startswith(f"{key}.") for k in known)}
    wrong = []
    for key in _leaves(written):
        parts = key.split(".")
        above = {".".join(parts[: n + 1]) for n in range(len(parts))}
        if key in known or above & (ends | set(FREE)):
            continue
        wrong.append((key, nearest(key, sorted(known or {key}))))
    return wrong


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Give the dotted names of a nested mapping's values, as Dask compares them."""
    for name, value in tree.items():
        key = f"{above}{str(name).replace('_', '-')}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key
