"""Search everything that an object holds, however deep."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

#: Deeper than anything that a Dask scheduler keeps.
DEEPEST = 14


def text_in(thing: object) -> str:
    """Return all text and bytes that can be reached from an object, one a line."""
    seen: set[int] = set()
    found: list[str] = []
    waiting: list[tuple[object, int]] = [(thing, 0)]
    while waiting:
        item, depth = waiting.pop()
        if id(item) in seen or depth > DEEPEST or isinstance(item, type):
            continue
        seen.add(id(item))
        if isinstance(item, str):
            found.append(item)
        elif isinstance(item, bytes | bytearray | memoryview):
            found.append(bytes(item).decode("latin1"))
        else:
            waiting += [(part, depth + 1) for part in _parts(item)]
    return "\n".join(found)


def _parts(item: Any) -> Iterator[object]:
    """Give what an object is made of."""
    if isinstance(item, dict):
        yield from list(item)
        yield from list(item.values())
    elif isinstance(item, list | tuple | set | frozenset) or hasattr(item, "popleft"):
        yield from list(item)
    else:
        yield from vars(item).values() if hasattr(item, "__dict__") else ()
        for cls in type(item).__mro__:
            for name in getattr(cls, "__slots__", ()):
                yield getattr(item, name, None)
