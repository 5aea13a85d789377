"""Who imports whom in the analysis code, and what no notebook imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import pytest

#: What each folder may import besides itself, `agc.errors` and `agc.compiled`.
ALLOWED = {
    "": {"inputs", "ttbar"},
    "inputs": set(),
    "hists": {"inputs"},
    "model": {"inputs", "hists"},
    "show": {"inputs", "hists", "model"},
    "ttbar": {"inputs", "hists", "model", "show"},
    "hzz": {"inputs", "hists", "model", "show"},
    "fast": {"inputs", "hists", "ttbar", "served"},
    "served": set(),
    "ttbar.ml": {"inputs", "hists", "model", "show", "ttbar", "fast", "served"},
    "standin": {"inputs", "hzz"},
}
#: What there may be at most; lines only go up with a reason in the commit.
BUDGET_FILES, BUDGET_LINES, BUDGET_LINES_SHOWN = 95, 13_698, 9_925
#: What nobody reads to understand an analysis: engine and stand-in.
APART = ("fast", "standin")
#: The modules that may import the compiled engine: they are where it is chosen.
SWITCHES = {"agc.ttbar.runs"}


def name_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def folder_of(module: str, modules: dict[str, Path]) -> str:
    parts = module.split(".")[1:]
    is_package = modules[module].name == "__init__.py"
    return ".".join(parts if is_package else parts[:-1])


@pytest.fixture(scope="module")
def modules(repository: Path) -> dict[str, Path]:
    root = repository / "notebooks" / "agc"
    return {name_of(path, root): path for path in sorted(root.rglob("*.py"))}


def imported(code: str, modules: dict[str, Path]) -> Iterator[str]:
    """Return the modules of ours that some code imports, inside functions too."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from inside & modules.keys()
            if inside - modules.keys():
                yield node.module
        elif isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & modules.keys()


def test_no_module_imports_itself_by_way_of_others(modules: dict[str, Path]) -> None:
    graph = {
        name: set(imported(path.read_text(), modules)) for name, path in modules.items()
    }
    assert list(TopologicalSorter(graph).static_order())  # raises on a circle


def test_the_analysis_code_stays_within_its_budget(modules: dict[str, Path]) -> None:
    lines = {name: len(p.read_text().splitlines()) for name, p in modules.items()}
    shown = [
        n
        for name, n in lines.items()
        if folder_of(name, modules).split(".")[0] not in APART
    ]
    assert len(lines) <= BUDGET_FILES
    assert sum(lines.values()) <= BUDGET_LINES
    assert sum(shown) <= BUDGET_LINES_SHOWN


def test_folders_import_in_one_direction(modules: dict[str, Path]) -> None:
    wrong = []
    for name, path in modules.items():
        folder = folder_of(name, modules)
        for other in imported(path.read_text(), modules):
            target = folder_of(other, modules)
            allowed = {"", folder} | ALLOWED[folder]
            if name in SWITCHES:
                allowed |= {"fast", "ttbar.ml"}
            if target not in allowed:
                wrong.append(f"{name} imports {other}")
    assert wrong == []


def test_no_notebook_imports_what_simulates_the_stand_in(
    repository: Path, modules: dict[str, Path]
) -> None:
    found: set[str] = set()
    for notebook in sorted((repository / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(notebook, as_version=4).cells
        code = "\n".join(
            line
            for cell in cells
            if cell.cell_type == "code"
            for line in cell.source.splitlines()
            if not line.startswith("%")
        )
        found |= set(imported(code, modules))
    assert found
    while True:
        more = {o for n in found for o in imported(modules[n].read_text(), modules)}
        if more <= found:
            break
        found |= more
    assert [name for name in sorted(found) if name.startswith("agc.standin")] == []
