"""Parameters of a notebook: which there are, and new values for them."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casa_env.errors import NotebookError
from casa_env.settings.table import nearest

if TYPE_CHECKING:
    from nbformat import NotebookNode


class Written(str):
    """A value as a command line has it: what it is, the parameter's default says."""

    __slots__ = ()

    def value(self, default: object = None) -> object:
        """Return the Python literal that it is, else plain text, as a text stays."""
        try:
            value: object = ast.literal_eval(self)
        except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
            return str(self)
        quoted = isinstance(value, str)
        return value if quoted or not isinstance(default, str) else str(self)


def parse_parameter(text: str) -> tuple[str, Written]:
    """Return name and value of ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        what = f"A parameter is written NAME=VALUE; this is {text!r}."
        raise _refused(what, "-p", "Write for example -p N_FILES=2.")
    return name, Written(value)


def _refused(what: str, where: str, step: str) -> NotebookError:
    return NotebookError(what, looked_at=where, next_step=step, kind="parameter")


def set_parameters(node: NotebookNode, new: Mapping[str, object], where: str) -> str:
    """Add a cell, tagged as papermill 2.6 does, after the one with the defaults.

    Returns the notebook's OUTPUT_FOLDER, empty where it has none.
    """
    import nbformat

    def tagged(tag: str) -> list[int]:
        return [
            n for n, c in enumerate(node.cells) if tag in c.metadata.get("tags", [])
        ]

    added = "injected-parameters"
    for n in reversed(tagged(added) if new else []):
        del node.cells[n]
    if not new:
        found: dict[str, Any] = {}
        with contextlib.suppress(NotebookError):
            for n in tagged("parameters") + tagged(added):
                found |= _defaults(node.cells[n].source, where)
        return _folder(found)
    if not (places := tagged("parameters")):
        what = "The notebook has no parameters: no cell is tagged 'parameters'."
        raise _refused(what, where, "Tag the cell that sets them, or leave out -p.")
    defaults = _defaults(node.cells[places[0]].source, where)
    values = dict(new)
    for name, value in new.items():
        if name not in defaults:
            there = ", ".join(defaults) or "none"
            what = f"The notebook has no parameter {name!r}; there are: {there}."
            step = f"Did you mean {nearest(name, defaults)}?" if defaults else ""
            raise _refused(what, where, step)
        if isinstance(value, Written):
            value = values[name] = value.value(defaults[name])  # noqa: PLW2901 - it is
        wanted, given = type(defaults[name]).__name__, type(value).__name__
        if wanted not in {given, "NoneType"} and (wanted, given) != ("float", "int"):
            what = f"The parameter {name} is of type {wanted}; {value!r} is {given}."
            step = f"Write it like its default, {name}={defaults[name]!r}."
            raise _refused(what, where, step)
    source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    cell = nbformat.v4.new_code_cell(source, id=added, metadata={"tags": [added]})  # type: ignore[no-untyped-call]
    node.cells.insert(places[0] + 1, cell)
    return _folder(defaults | values)


def _folder(values: Mapping[str, object]) -> str:
    folder = values.get("OUTPUT_FOLDER")
    return str(folder) if isinstance(folder, str | Path) else ""


def _defaults(source: str, where: str) -> dict[str, Any]:
    """Return the names that a cell sets; ``None`` for what is computed."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as err:
        what = "The cell tagged 'parameters' is not plain Python."
        place = f"{where}, line {err.lineno} of that cell"
        step = "Keep magics and shell commands out of that cell."
        raise _refused(what, place, step) from err
    found: dict[str, Any] = {}
    for statement in statements:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
            value = None
            with contextlib.suppress(TypeError, ValueError):
                value = ast.literal_eval(statement.value)
            one = [getattr(statement, "target", None)]
            targets = getattr(statement, "targets", one)
            found |= {t.id: value for t in targets if isinstance(t, ast.Name)}
    return found
