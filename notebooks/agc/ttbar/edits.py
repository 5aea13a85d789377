"""Whether a notebook's analysis is still the one that the kernel computes."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from agc.ttbar.config import ttbar_config

if TYPE_CHECKING:
    from agc.hists.tasks import Processor

__all__ = ["KERNEL_FINGERPRINT", "edits_of"]

#: Of the processor in agc-ttbar.ipynb whose histograms the kernel reproduces. A test
#: compares both bin by bin, and fails where this is not that processor's.
KERNEL_FINGERPRINT = "9a8793bdb186586e"


def edits_of(processor: Processor) -> list[str]:
    """Return what makes a processor another analysis than the kernel's.

    New processes, datasets and fit channels are none of it.
    """
    edits = []
    if fingerprint(processor) != KERNEL_FINGERPRINT:
        edits.append("the code of the processor was")
    config, shipped = processor.config, ttbar_config()
    ours = {name: (v.region, v.bins) for name, v in config.variables.items()}
    theirs = {name: (v.region, v.bins) for name, v in shipped.variables.items()}
    changed = {name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name)}
    edits += [f"the variable {name!r} was" for name in sorted(changed)]
    known = {s.up for s in shipped.systematics}
    edits += [
        f"the systematic {s.label!r} was"
        for s in config.systematics
        if s.factors or (s.kind not in {"sample", "norm"} and s.up not in known)
    ]
    return edits


def fingerprint(processor: Processor) -> str:
    """Return a digest of a processor's code and of what it uses from its notebook.

    Comments, text in quotes that only documents, and layout do not count.
    """
    seen: dict[str, str] = {}
    variables = processor.config.variables.values()
    for part in (type(processor), *(v.value for v in variables)):
        _collect(part, seen)
    content = "\n".join(seen[name] for name in sorted(seen))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _collect(part: Any, seen: dict[str, str]) -> None:  # noqa: ANN401 - whatever a notebook defines
    """Add the text of a class or function, and of what it uses of its own module."""
    if isinstance(part, type):
        for one in vars(part).values():
            if isinstance(one, FunctionType):
                _collect(one, seen)
    if not isinstance(part, FunctionType) or part.__qualname__ in seen:
        return
    seen[part.__qualname__] = _normalised(inspect.getsource(part))
    for name in sorted(_names(part.__code__)):
        used = part.__globals__.get(name)
        if isinstance(used, FunctionType | type):
            if used.__module__ == part.__module__:
                _collect(used, seen)
        elif isinstance(used, int | float | str | tuple | dict | list):
            seen[name] = f"{name} = {used!r}"


def _names(code: CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, CodeType))
    return set(code.co_names).union(*(_names(c) for c in inner))


def _normalised(source: str) -> str:
    tree = ast.parse(textwrap.dedent(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
