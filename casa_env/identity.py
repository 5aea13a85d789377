"""What is installed here: the environment's identity, for comparing and for reports."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata

from casa_env.worker_side import RECORD, installed

__all__ = [
    "Environment",
    "casa_env_version",
    "environment_here",
    "environment_id",
    "environment_info",
]


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A Python and what is installed in it."""

    python: str
    """Python's version and implementation, such as ``"3.11.7 CPython"``."""

    platform: str
    """System and machine, such as ``"Linux x86_64"``."""

    casa_env: str
    """The version of casa_env."""

    packages: tuple[tuple[str, str], ...]
    """Name and version of each distribution, sorted; names as PEP 503 writes them."""

    shipped: tuple[tuple[str, str], ...] = ()
    """Name and digest of the code that `casa_env.ship` brought here, or sent."""

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that are equal where the contents are."""
        content: list[object] = [self.python, self.platform, self.packages]
        if self.shipped:
            content.append(self.shipped)
        text = json.dumps(content, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def environment_here(paths: Iterable[str] | None = None) -> Environment:
    """Return what is installed for the Python that runs now.

    It is the same on a laptop, on Binder and at a facility where these run the same
    image or lock; the id then says so.

    Parameters
    ----------
    paths
        Folders to look for distributions in; by default ``sys.path``.

    Returns
    -------
    Environment
        Of a distribution that is found twice, the one that ``import`` finds.
    """
    found = installed(paths)
    return Environment(
        python=f"{platform.python_version()} {platform.python_implementation()}",
        platform=f"{platform.system()} {platform.machine()}",
        casa_env=found.get("casa-env", "not installed"),
        packages=tuple(sorted(found.items())),
        shipped=tuple(sorted(getattr(sys, RECORD, {}).items())),
    )


def casa_env_version() -> str:
    """Return the version of casa_env, or that it is not installed.

    A clone can be used without installing it; then there is no version to tell.
    """
    try:
        return metadata.version("casa-env")
    except metadata.PackageNotFoundError:
        return "not installed"


def environment_id() -> str:
    """Return the id of what is installed here.

    Examples
    --------
    >>> len(environment_id())
    12
    """
    return environment_here().id


def environment_info(environment: Environment | None = None) -> str:
    """Return a Markdown list of what is installed here, for bug reports.

    Parameters
    ----------
    environment
        What to describe; by default this environment.

    Returns
    -------
    str
        One bullet a line.

    Examples
    --------
    >>> print(
    ...     environment_info(
    ...         Environment(
    ...             python="3.11.7 CPython",
    ...             platform="Linux x86_64",
    ...             casa_env="0.1.0",
    ...             packages=(("uproot", "5.7.7"),),
    ...         )
    ...     )
    ... )
    * environment: ef8fc4d747c6
    * python: 3.11.7 CPython
    * platform: Linux x86_64
    * casa-env: 0.1.0
    * packages:
        * uproot: 5.7.7
    """
    environment = environment or environment_here()
    lines = [
        f"* environment: {environment.id}",
        f"* python: {environment.python}",
        f"* platform: {environment.platform}",
        f"* casa-env: {environment.casa_env}",
        "* packages:",
        *(f"    * {name}: {version}" for name, version in environment.packages),
    ]
    return "\n".join(lines)
