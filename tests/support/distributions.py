"""Distributions that are made up: folders for PYTHONPATH."""

from __future__ import annotations

from pathlib import Path


def install(folder: Path, name: str, version: str) -> str:
    """Make a folder that holds one distribution; return it."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(text)
    return str(folder)
