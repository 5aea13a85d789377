"""Gone with the modules that still import it."""

from casa_env.tokens.bearer import (
    BearerToken,
    bearer_token,
    may_send_token,
    token_for,
)

__all__ = ["BearerToken", "bearer_token", "may_send_token", "token_for"]
