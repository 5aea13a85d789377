"""JupyterHub configuration: a user's own token, as a file that stays good.

The hub keeps what a user's login gave it and exchanges the refresh token early, not
when the old one has ended. A user's server may read its own user's login from the hub;
casa_env, in that server, keeps `BEARER_TOKEN_FILE` equal to it. Loaded by
jupyterhub_config.py, and by the Kubernetes chart as an extra file (values.yaml).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tornado.httpclient import HTTPClientError

if TYPE_CHECKING:
    from jupyterhub.user import User
    from oauthenticator.oauth2 import OAuthenticator
    from traitlets.config import Config

c: Config = get_config()  # noqa: F821 - JupyterHub defines it

#: How old a user's token may become before it is exchanged: a third of the hour that
#: WLCG's issuers give it (WLCG Common JWT Profiles v1.0). In seconds.
AGE_S = int(os.environ.get("CASA_HUB_TOKEN_AGE_S", "1200"))

#: Where a user's server keeps the token in Kubernetes: memory of its own, mounted by
#: values.yaml. On one machine, which people share, jupyterhub_config.py says where.
TOKEN_FILE = os.environ.get("CASA_HUB_TOKEN_FILE", "/run/casa/token")


async def exchange(
    authenticator: OAuthenticator, user: User, auth_state: dict[str, Any] | None
) -> dict[str, Any] | bool | None:
    """Exchange a user's refresh token for a new pair.

    OAuthenticator itself waits until the provider refuses the access token; until then
    a job may have started with one that is about to end.

    Returns
    -------
    dict, bool or None
        The new login; False if the provider wants the user to log in again; True if
        it cannot be asked now; None, for what OAuthenticator does by itself, without
        a refresh token.
    """
    old = (auth_state or {}).get("refresh_token")
    if auth_state is None or not old:
        return None
    parameters = authenticator.build_refresh_token_request_params(old)
    try:
        answer = await authenticator.get_token_info(None, parameters)
    except HTTPClientError as err:
        authenticator.log.warning("%s: no new token: %s", user.name, err.code)
        return not 400 <= err.code < 500  # noqa: PLR2004 - HTTP's client errors
    except OSError as err:
        authenticator.log.warning("%s: no new token: %s", user.name, err)
        return True
    answer = {"id_token": auth_state.get("id_token"), "refresh_token": old} | answer
    about = auth_state[authenticator.user_auth_state_key]
    new = authenticator.build_auth_state_dict(answer, about)
    model = {"name": user.name, "auth_state": new}
    if authenticator.manage_groups:  # JupyterHub wants them named each time
        model["groups"] = sorted(await authenticator.get_user_groups(new))
    return model


c.Authenticator.enable_auth_state = True  # encrypted with JUPYTERHUB_CRYPT_KEY
c.Authenticator.auth_refresh_age = AGE_S
c.OAuthenticator.refresh_user_hook = exchange
# What the provider is sent, such as our secret and users' tokens, is for its own host.
c.OAuthenticator.http_request_kwargs.update({"follow_redirects": False})

# A server's token may read what its own user may, and no more than is listed here.
c.JupyterHub.load_roles = [
    {"name": "user", "scopes": ["self", "admin:auth_state!user"]},
    {
        "name": "server",
        "scopes": [
            "users:activity!user",
            "access:servers!server",
            "read:users!user",
            "admin:auth_state!user",
        ],
    },
]
c.Spawner.environment = {
    "BEARER_TOKEN_FILE": TOKEN_FILE,
    # three looks between two exchanges
    "CASA_ENV_HUB_TOKEN_S": str(max(1, AGE_S // 3)),
}
