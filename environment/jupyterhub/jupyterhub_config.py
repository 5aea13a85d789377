"""A JupyterHub on one machine: OpenID Connect to log in, the lab as a process.

``jupyterhub -f environment/jupyterhub/jupyterhub_config.py`` in the clone, with these
variables: the provider's address in OIDC_ISSUER, our client there in OAUTH_CLIENT_ID
and OAUTH_CLIENT_SECRET, where users find the hub in HUB_URL, and JUPYTERHUB_CRYPT_KEY
(``openssl rand -hex 32``). For Kubernetes there is values.yaml.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traitlets.config import Config

c: Config = get_config()  # noqa: F821 - JupyterHub defines it
HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent
# By its whole path: what traitlets does not find it leaves out without a word.
load_subconfig(str(HERE / "token_renewal.py"))  # noqa: F821 - JupyterHub's, too
HUB_URL = os.environ["HUB_URL"].rstrip("/")
ISSUER = os.environ["OIDC_ISSUER"].rstrip("/")

# OpenID Connect Discovery 1.0: a provider says itself where its endpoints are.
with urllib.request.urlopen(  # noqa: S310 - the administrator's own address
    f"{ISSUER}/.well-known/openid-configuration", timeout=30
) as answer:
    PROVIDER = json.load(answer)

c.JupyterHub.bind_url = HUB_URL

# Login: any provider whose access tokens the site's storage takes, such as an IAM.
c.JupyterHub.authenticator_class = "generic-oauth"
c.GenericOAuthenticator.authorize_url = PROVIDER["authorization_endpoint"]
c.GenericOAuthenticator.token_url = PROVIDER["token_endpoint"]
c.GenericOAuthenticator.oauth_callback_url = f"{HUB_URL}/hub/oauth_callback"
# Not the userinfo endpoint: several providers refuse it tokens that are for storage.
c.GenericOAuthenticator.userdata_from_id_token = True
c.GenericOAuthenticator.username_claim = "preferred_username"
c.GenericOAuthenticator.scope = os.environ.get(
    "OIDC_SCOPE", "openid profile offline_access storage.read:/"
).split()
c.GenericOAuthenticator.extra_authorize_params = {"prompt": "consent"}
c.GenericOAuthenticator.allow_all = True  # whoever the provider knows

# The lab, with the configuration that an image has below /etc.
c.Spawner.cmd = [str(Path(sys.executable).with_name("jupyterhub-singleuser"))]
c.Spawner.default_url = "/lab"
c.Spawner.environment.update(
    {
        "DASK_CONFIG": str(ENVIRONMENT / "dask" / "casa.yaml"),
        "JUPYTER_CONFIG_PATH": str(ENVIRONMENT / "jupyter"),
    }
)
