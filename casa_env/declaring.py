"""How a setting is declared: its parser, a line of text, the ecosystem's variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["says"]


def says(
    parse: Callable[[object], Any],
    doc: str,
    *variables: str,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> dict[str, Any]:
    """Declare a setting.

    Parameters
    ----------
    parse
        From text or TOML to its value; raises ``ValueError`` for any other.
    doc
        What it means, in a line.
    *variables
        Variables of other tools that say the same.
    choices
        The only values it may have; none means any.
    secret
        Whether it may not be shown, nor stand in a file.

    Returns
    -------
    dict
        The ``metadata`` of a dataclass's field.
    """
    return {
        "parse": parse,
        "doc": doc,
        "variables": variables,
        "choices": choices,
        "secret": secret,
    }
