"""JupyterHub configuration: groups of the provider decide what a user may start.

A profile of the chart's ``singleuser.profileList`` may have a list ``groups``: only
their members are offered it and may start it, with the limits that it has. The rest is
everybody's. Loaded by jupyterhub_config.py, and by the Kubernetes chart as an extra
file (values.yaml).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyterhub.spawner import Spawner
    from traitlets.config import Config

c: Config = get_config()  # noqa: F821 - JupyterHub defines it

#: The claim with a user's groups: WLCG Common JWT Profiles v1.0.
CLAIM = os.environ.get("CASA_HUB_GROUPS_CLAIM", "wlcg.groups")

#: What the chart was given; on one machine there is none.
PROFILES: list[dict[str, Any]] = c.KubeSpawner.get("profile_list", [])


def groups_of(auth_state: dict[str, Any]) -> list[str]:
    """Return a user's groups, as the provider said them at login."""
    found = auth_state.get("oauth_user", {}).get(CLAIM)
    several = found if isinstance(found, list) else [found]
    return [one for one in several if isinstance(one, str)]


def profiles_for(spawner: Spawner) -> list[dict[str, Any]]:
    """Return the profiles that a user may start."""
    own = {group.name for group in spawner.user.groups}
    return [
        {key: value for key, value in profile.items() if key != "groups"}
        for profile in PROFILES
        if "groups" not in profile or own & {*profile["groups"]}
    ]


c.Authenticator.manage_groups = True
c.OAuthenticator.auth_state_groups_key = groups_of
if PROFILES:
    c.KubeSpawner.profile_list = profiles_for
