"""Parameters of a notebook: which there are, and new values for them."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from casa_env.errors import ParameterError
from casa_env.settings.table import nearest

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["inject", "parse_parameter"]

#: The tags of the cell with the defaults and of the cell that we add: papermill's.
DEFAULTS_TAG: Final = "parameters"
INJECTED_TAG: Final = "injected-parameters"


def parse_parameter(text: str) -> tuple[str, object]:
    """Return name and value of ``NAME=VALUE`` from a command line.

    Parameters
    ----------
    text
        A name, ``=`` and a value: a Python literal, else plain text.

    Returns
    -------
    tuple
        The name and the value.

    Raises
    ------
    ParameterError
        If there is no ``=``, or what stands before it is not a name.

    Examples
    --------
    >>> parse_parameter("N_FILES=2"), parse_parameter("NAME=a=b")
    (('N_FILES', 2), ('NAME', 'a=b'))
    """
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        what = f"A parameter is written NAME=VALUE; this is {text!r}."
        step = "Write for example -p N_FILES=2."
        raise ParameterError(what, looked_at="-p", next_step=step)
    try:
        return name, ast.literal_eval(value)
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return name, value


def inject(
    notebook: NotebookNode, parameters: Mapping[str, object], *, where: str
) -> None:
    """Add a cell that sets parameters, after the cell that holds their defaults.

    Parameters
    ----------
    notebook
        The notebook; changed in place. A cell that was added before is replaced.
    parameters
        Values by name.
    where
        The notebook's name for errors.

    Raises
    ------
    ParameterError
        If the notebook has no cell tagged ``parameters``, or that cell does not set
        a parameter of this name, or sets it to another type.

    Notes
    -----
    The tags are papermill's (papermill 2.6, ``papermill/parameterize.py``).
    """
    if not parameters:
        return
    import nbformat

    notebook.cells = [c for c in notebook.cells if INJECTED_TAG not in _tags(c)]
    places = [i for i, c in enumerate(notebook.cells) if DEFAULTS_TAG in _tags(c)]
    if not places:
        what = "The notebook has no parameters: no cell is tagged 'parameters'."
        step = "Tag the cell that sets them, or leave out -p."
        raise ParameterError(what, looked_at=where, next_step=step)
    defaults = _defaults(notebook.cells[places[0]].source, where)
    for name, value in parameters.items():
        _check(name, value, defaults, where)
    source = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    tags = {"tags": [INJECTED_TAG]}
    cell = nbformat.v4.new_code_cell(source, metadata=tags)  # type: ignore[no-untyped-call]
    cell["id"] = INJECTED_TAG
    notebook.cells.insert(places[0] + 1, cell)


def _tags(cell: NotebookNode) -> list[str]:
    """Return the tags of a cell."""
    tags: list[str] = cell.metadata.get("tags", [])
    return tags


def _defaults(source: str, where: str) -> dict[str, Any]:
    """Return the names that a cell sets; the value too where it is a literal."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as err:
        what = "The cell tagged 'parameters' is not plain Python."
        place = f"{where}, line {err.lineno} of that cell"
        step = "Keep magics and shell commands out of that cell."
        raise ParameterError(what, looked_at=place, next_step=step) from err
    found: dict[str, Any] = {}
    for statement in statements:
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets = [statement.target]
        else:
            continue
        try:
            value = ast.literal_eval(statement.value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            value = None
        found |= {t.id: value for t in targets if isinstance(t, ast.Name)}
    return found


def _check(name: str, value: object, defaults: Mapping[str, Any], where: str) -> None:
    """Raise unless the notebook has this parameter, with a value of this type."""
    if name not in defaults:
        listed = ", ".join(defaults) or "none"
        what = f"The notebook has no parameter {name!r}; there are: {listed}."
        step = f"Did you mean {nearest(name, defaults)}?" if defaults else ""
        raise ParameterError(what, looked_at=where, next_step=step)
    default = defaults[name]
    same = isinstance(value, type(default)) or (
        isinstance(default, float) and isinstance(value, int)
    )
    if default is not None and not (
        same and isinstance(default, bool) == isinstance(value, bool)
    ):
        wanted, given = type(default).__name__, type(value).__name__
        what = f"The parameter {name} is of type {wanted}; {value!r} is {given}."
        step = f"Write it like its default, {name}={default!r}."
        raise ParameterError(what, looked_at=where, next_step=step)
