from __future__ import annotations

import nbformat
import pytest
from hypothesis import given
from hypothesis import strategies as st

from casa_env.errors import NotebookError
from casa_env.parameters import parse_parameter
from casa_env.parameters import set_parameters as inject

DEFAULTS = (
    'N_FILES = 0\nNAME = "x"\nCUT: float = 25.0\nFAST = True\nWHERE = None\nD = f()'
)


def notebook(source: str = DEFAULTS) -> nbformat.NotebookNode:
    cells = [
        nbformat.v4.new_markdown_cell("# Title"),
        nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell("print(N_FILES)"),
    ]
    return nbformat.v4.new_notebook(cells=cells)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("N=2", ("N", 2)),
        ("N=-2.5", ("N", -2.5)),
        ("N=[1, 'a']", ("N", [1, "a"])),
        ("N=True", ("N", True)),
        ("N=None", ("N", None)),
        ("N='2'", ("N", "2")),
        ("N=ttbar", ("N", "ttbar")),
        ("N=a=b", ("N", "a=b")),
        ("N=", ("N", "")),
        ("N=1 +", ("N", "1 +")),
        ("N=" + "(" * 500, ("N", "(" * 500)),
    ],
)
def test_values_are_literals_or_else_text(
    text: str, parsed: tuple[str, object]
) -> None:
    name, written = parse_parameter(text)
    assert (name, written.value()) == parsed


@pytest.mark.parametrize("text", ["N", "", "=2", "1N=2", "a b=2", "a.b=1"])
def test_what_is_not_name_and_value_is_refused(text: str) -> None:
    with pytest.raises(NotebookError, match="NAME=VALUE"):
        parse_parameter(text)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_every_literal_makes_the_round_trip(value: object) -> None:
    name, written = parse_parameter(f"X={value!r}")
    assert (name, written.value()) == ("X", value)


@pytest.mark.parametrize("text", ["2017", "1e3", "None", "[1]", "'2017'"])
def test_what_is_written_for_a_text_stays_text(text: str) -> None:
    node = notebook()
    inject(node, dict([parse_parameter(f"NAME={text}")]), "x.ipynb")
    assert node.cells[2].source == f"NAME = {text.strip(chr(39))!r}"


def test_values_go_into_a_cell_after_the_defaults() -> None:
    node = notebook()
    inject(node, {"N_FILES": 2, "NAME": "it's"}, "x.ipynb")
    cell = node.cells[2]
    assert cell.metadata.tags == ["injected-parameters"]
    assert cell.source == 'N_FILES = 2\nNAME = "it\'s"'
    assert node.cells[1].source == DEFAULTS
    nbformat.validate(node)


def test_injecting_again_replaces_the_cell() -> None:
    node = notebook()
    inject(node, {"N_FILES": 2}, "x.ipynb")
    inject(node, {"N_FILES": 3}, "x.ipynb")
    assert [c.source for c in node.cells[2:]] == ["N_FILES = 3", "print(N_FILES)"]


def test_no_values_change_nothing() -> None:
    node = notebook()
    before = nbformat.writes(node)
    inject(node, {}, "x.ipynb")
    assert nbformat.writes(node) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("N_FILES", 2),
        ("CUT", 30),
        ("CUT", 30.5),
        ("FAST", False),
        ("WHERE", "/data"),
        ("D", [1]),
    ],
)
def test_values_of_the_default_s_type_are_accepted(name: str, value: object) -> None:
    node = notebook()
    inject(node, {name: value}, "x.ipynb")
    assert node.cells[2].source == f"{name} = {value!r}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("N_FILES", "many"), ("N_FILES", 1.5), ("NAME", 3), ("FAST", 1), ("CUT", True)],
)
def test_values_of_another_type_are_refused(name: str, value: object) -> None:
    with pytest.raises(NotebookError, match=f"The parameter {name} is of type"):
        inject(notebook(), {name: value}, "x.ipynb")


def test_a_name_that_is_not_there_is_refused_with_those_there_are() -> None:
    with pytest.raises(NotebookError, match="N_FILES, NAME, CUT") as caught:
        inject(notebook(), {"NFILES": 2}, "x.ipynb")
    assert caught.value.looked_at == "x.ipynb"
    assert caught.value.next_step == "Did you mean N_FILES?"


def test_a_notebook_without_parameters_says_so() -> None:
    with pytest.raises(NotebookError, match="no cell is tagged 'parameters'"):
        inject(nbformat.v4.new_notebook(), {"N": 2}, "x.ipynb")


def test_a_parameters_cell_with_a_magic_is_refused_with_its_line() -> None:
    with pytest.raises(NotebookError, match="not plain Python") as caught:
        inject(notebook("N = 1\n%time x"), {"N": 2}, "x.ipynb")
    assert caught.value.looked_at == "x.ipynb, line 2 of that cell"
