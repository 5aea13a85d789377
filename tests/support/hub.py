"""A JupyterHub that is running."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Hub:
    url: str
    """Where users find it."""

    log: Path
    """What it writes."""

    tokens: Path
    """Where its users' folders for tokens are."""
