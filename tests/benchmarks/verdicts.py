"""A measured value beside its target."""

from __future__ import annotations


def verdict(value: float, target: float, *, at_most: bool = False) -> str:
    """Return the target and whether a value reaches it."""
    reached = value <= target if at_most else value >= target
    sign = "<=" if at_most else ">="
    return f"({sign} {target:g}: {'reached' if reached else 'not reached'})"
