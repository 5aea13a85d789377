"""Gone with the modules that still import it."""

from casa_env.tokens.access import check_access

__all__ = ["check_access"]
