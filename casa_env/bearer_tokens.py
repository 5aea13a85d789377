"""Gone with the modules that still import it."""

from casa_env.tokens.bearer import (
    BearerToken,
    parse_token,
    require_current,
    utc,
)

__all__ = ["BearerToken", "parse_token", "require_current", "utc"]
