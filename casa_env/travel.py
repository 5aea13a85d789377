"""How functions and plugins get to workers: as source, whatever is installed there."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final

from casa_env import scheduler_side, worker_side, worker_voice

__all__ = ["call", "plugin"]

#: Compile the source that travels along, then call a function of it, or make a plugin
#: of one of its classes. What is sent holds builtins and plain values only, which every
#: Python can read.
_COMPILE: Final = (
    "exec(compile(source, 'casa_env', 'exec'), space := {'__name__': 'casa_env_here'})"
)
_CALL: Final = f"{_COMPILE} or space[name](*arguments)"
_PLUGIN: Final = (
    f"{_COMPILE} or type(name, (space[name], "
    "getattr(__import__('distributed'), base)), {'name': tag})(**state)"
)


def call(name: str, *arguments: object) -> tuple[str, dict[str, Any]]:
    """Return the arguments of `eval` that call a function of `worker_side`.

    Parameters
    ----------
    name
        The function.
    *arguments
        Plain values.

    Examples
    --------
    >>> eval(*call("differences", {}, {}, "off"))
    []
    """
    return _CALL, {"source": _source(name), "name": name, "arguments": arguments}


def plugin(kind: str, /, *, tag: str = "", **state: object) -> Any:  # noqa: ANN401 - untyped
    """Return a plugin that is pickled as source.

    Parameters
    ----------
    kind
        The class: ``"Guard"``, ``"Code"`` or ``"Voice"`` of a worker, ``"Watch"`` and
        ``"Depot"`` of a scheduler.
    tag
        What tells it from others of this kind.
    **state
        What it is made with: plain values.
    """
    import distributed

    side = "SchedulerPlugin" if kind in scheduler_side.__all__ else "WorkerPlugin"
    called = f"casa-env-{kind.lower()}{tag and '-'}{tag}"
    base: Any = getattr(distributed, side)
    content: dict[str, Any] = {
        "source": _source(kind),
        "name": kind,
        "base": side,
        "tag": called,
    }
    content |= {"state": state}

    class Travelling(base):  # type: ignore[misc] # one of two classes
        name = called

        def __reduce__(self) -> tuple[Any, ...]:
            return eval, (_PLUGIN, content)

    return Travelling()


@cache
def _source(name: str) -> str:
    """Return the text of the module that has a name."""
    modules = (scheduler_side, worker_voice, worker_side)
    module = next(m for m in modules if name in m.__all__)
    return Path(str(module.__file__)).read_text()
