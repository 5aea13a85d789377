"""ServiceX: its client's configuration from the site's settings, in a file of our own.

The client looks for ``.servicex`` or ``servicex.yaml`` from the working directory
upwards. Those are the user's: they are neither read nor written here.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Final

from casa_env.errors import CredentialsError
from casa_env.settings import Settings, load_settings
from casa_env.settings.places import cache_home
from casa_env.tokens.bearer import token_for

__all__ = ["servicex_config"]

#: What our endpoint is called in the configuration.
NAME: Final = "casa-env"


@contextlib.contextmanager
def servicex_config(
    settings: Settings | None = None, *, environ: MutableMapping[str, str] | None = None
) -> Iterator[str]:
    """Give the ``config_path`` for `servicex.deliver`, while the block lasts.

    On a laptop and on Binder there is no ServiceX unless the user names one. At a
    facility it is the site's, with the token from its web page
    (``servicex_token_file``), or else the user's bearer token, if its host is one of
    ``token_hosts``. The path is that of a file that only the user can read, and that is
    removed afterwards; in ``environ``, by default this process's, ``BEARER_TOKEN_FILE``
    is changed meanwhile.

    Raises
    ------
    CredentialsError
        ``servicex_token_file`` cannot be read, or the bearer token has expired.

    Notes
    -----
    The client (servicex 3.3.1, ``servicex_adapter.py``) sends the content of
    ``BEARER_TOKEN_FILE`` to the endpoint if that variable is set, whichever host that
    is, and otherwise exchanges its own refresh token for one. So while the block lasts
    the variable names our copy of the token where the endpoint may have it, and is
    not set where it may not.
    """
    import yaml

    settings = settings or load_settings()
    environ = os.environ if environ is None else environ
    url, refresh = settings.servicex_endpoint.rstrip("/"), _refresh_token(settings)
    bearer = None if refresh else token_for(url, settings)
    content = {
        "api_endpoints": [{"name": NAME, "endpoint": url, "token": refresh}],
        "default_endpoint": NAME,
        "cache_path": str(cache_home(environ) / "casa-env" / "servicex"),
    }
    before = environ.pop("BEARER_TOKEN_FILE", None)
    try:
        with tempfile.TemporaryDirectory(prefix="casa-env-servicex-") as name:
            if bearer is not None:
                token = _private(Path(name, "token"), bearer.value)
                environ["BEARER_TOKEN_FILE"] = token
            yield _private(Path(name, "servicex.yaml"), yaml.safe_dump(content))
    finally:
        environ.pop("BEARER_TOKEN_FILE", None)
        if before is not None:
            environ["BEARER_TOKEN_FILE"] = before


def _refresh_token(settings: Settings) -> str:
    """Return the token of ServiceX's own web page, empty if no file is named."""
    file = settings.servicex_token_file
    try:
        return file.read_text().strip() if file else ""
    except (OSError, ValueError) as err:
        what = "The file of the ServiceX token cannot be read."
        where = f"{file}, from {settings.origin('servicex_token_file')}"
        step = "Get a token from the ServiceX web page, or correct servicex_token_file."
        raise CredentialsError(what, looked_at=where, next_step=step) from err


def _private(file: Path, content: str) -> str:
    """Write a file that only we can read, from the beginning on; return its path."""
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(content)
    return str(file)
