"""Gone with the modules that still import it."""

from casa_env.tokens.bearer import require_rules

__all__ = ["require_rules"]
