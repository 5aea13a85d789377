"""Distributions that are made up: folders for PYTHONPATH, and wheels."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path


def install(folder: Path, name: str, version: str) -> str:
    """Make a folder that holds one distribution; return it."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(metadata(name, version))
    return str(folder)


def metadata(name: str, version: str) -> str:
    """Return the text that names a distribution."""
    return f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"


def wheel(folder: Path, name: str, version: str, source: str) -> tuple[Path, str]:
    """Make a wheel of one module; return it and its SHA-256."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": source,
        f"{info}/METADATA": metadata(name, version),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    for path, content in files.items():
        digest = hashlib.sha256(content.encode()).digest()
        code = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        lines.append(f"{path},sha256={code},{len(content.encode())}")
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,", ""])
    file = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return file, hashlib.sha256(file.read_bytes()).hexdigest()
