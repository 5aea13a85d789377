"""The notebooks as they are stored: without outputs, sites or secrets."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    node = nbformat.read(request.param, as_version=4)
    nbformat.validate(node)
    return node


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"00-welcome", "agc-ttbar"}


def test_no_outputs_are_stored(notebook: nbformat.NotebookNode) -> None:
    for cell in code_cells(notebook):
        assert cell.outputs == []
        assert cell.execution_count is None


def test_the_first_cell_says_what_it_shows_needs_and_takes(
    notebook: nbformat.NotebookNode,
) -> None:
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    for word in ("**Shows**", "**Needs**", "**Takes**"):
        assert word in first.source


def test_one_cell_holds_the_parameters(notebook: nbformat.NotebookNode) -> None:
    tagged = [
        cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
    ]
    assert len(tagged) == 1
    assert tagged[0] is code_cells(notebook)[0]


def test_cells_are_short(notebook: nbformat.NotebookNode) -> None:
    for cell in code_cells(notebook):
        assert len(cell.source.splitlines()) <= 30, cell.source


def test_pictures_are_shown_with_a_text_for_those_who_cannot_see_them(
    notebook: nbformat.NotebookNode,
) -> None:
    source = "\n".join(cell.source for cell in code_cells(notebook))
    assert not re.search(r"display\((fig|pic|plot)|plt\.show|save_figure", source)
    assert source.count("subplots(") == source.count("plt.close(figure)")
    assert "show_figure(" in source


def test_no_site_host_or_outside_path_is_named(notebook: nbformat.NotebookNode) -> None:
    outside = re.compile(r"[a-z]+://|localhost|127\.0\.0\.1|[\"'](?:/|~|\.\./)")
    for cell in code_cells(notebook):
        assert not outside.search(cell.source), cell.source
