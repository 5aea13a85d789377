"""The analysis that a notebook shows, without running the rest of it."""

from __future__ import annotations

import linecache
from functools import lru_cache
from pathlib import Path
from typing import Any

import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"


def analysis_code(notebook: str) -> str:
    """Return the imports and the cells with the tag ``analysis``."""
    cells = nbformat.read(NOTEBOOKS / f"{notebook}.ipynb", as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    tagged = [c for c in code if "analysis" in c.metadata.get("tags", [])]
    before = code[code.index(tagged[0]) - 1]
    lines = "\n\n".join(cell.source for cell in (before, *tagged)).splitlines()
    return "\n".join(line for line in lines if not line.startswith("%")) + "\n"


def run_code(code: str, name: str = "notebook") -> dict[str, Any]:
    """Run code as a notebook's, so that its classes can be pickled and looked into."""
    file = f"<{name} {hash(code)}>"
    linecache.cache[file] = (len(code), None, code.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(code, file, "exec"), namespace)  # noqa: S102 - our own notebook
    return namespace


@lru_cache
def ttbar_namespace() -> dict[str, Any]:
    """Return what agc-ttbar.ipynb defines: ``processor``, ``config`` and so on."""
    return run_code(analysis_code("agc-ttbar"))
