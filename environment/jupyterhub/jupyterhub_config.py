"""A JupyterHub on one machine: OpenID Connect to log in, the lab as a process.

``jupyterhub -f environment/jupyterhub/jupyterhub_config.py`` in the clone, with these
variables: the provider's address in OIDC_ISSUER, our client there in OAUTH_CLIENT_ID
and OAUTH_CLIENT_SECRET, where users find the hub in HUB_URL, who may log in as whom in
the file HUB_USERS, and JUPYTERHUB_CRYPT_KEY (``openssl rand -hex 32``). For Kubernetes
there is values.yaml.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import stat
import sys
import tomllib
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jupyterhub.spawner import SimpleLocalProcessSpawner
from tornado.web import HTTPError

if TYPE_CHECKING:
    from jupyterhub.spawner import Spawner
    from traitlets.config import Config

c: Config = get_config()  # noqa: F821 - JupyterHub defines it
HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parent
# By its whole path: what traitlets does not find it leaves out without a word.
load_subconfig(str(HERE / "token_renewal.py"))  # noqa: F821 - JupyterHub's, too
load_subconfig(str(HERE / "groups.py"))  # noqa: F821 - the same
HUB_URL = os.environ["HUB_URL"].rstrip("/")
ISSUER = os.environ["OIDC_ISSUER"].rstrip("/")
USERS = Path(os.environ["HUB_USERS"])

#: Where each user's folder for the token is: in memory, and nobody else's to make.
TOKENS = Path(os.environ.get("CASA_HUB_TOKEN_FOLDER", "/run/casa"))

#: What an account may be called: it becomes a part of paths and addresses.
ACCOUNT = r"[a-z_][a-z0-9_-]{0,31}\Z"


def accounts() -> dict[str, str]:
    """Read who may log in as whom: a table from "sub" to an account of this machine."""
    found = tomllib.loads(USERS.read_text())
    for who, account in found.items():
        if not (isinstance(account, str) and re.match(ACCOUNT, account)):
            msg = f"{USERS}: {who!r} needs the name of an account, not {account!r}"
            raise ValueError(msg)
    return found


def account(claims: dict[str, Any]) -> str:
    """Return the account of whoever logs in; who is not in the table gets none.

    People may choose a name, such as somebody else's. A provider's "sub" is for ever
    one person's, and the only claim that is (OpenID Connect Core 1.0, section 5.7).
    """
    try:
        return accounts()[str(claims["sub"])]
    except KeyError as err:
        msg = f"HUB_USERS gives no account to sub = {claims.get('sub')!r}"
        raise HTTPError(403, msg) from err


def token_file(spawner: Spawner) -> str:
    """Return where a user's server keeps the token."""
    return str(TOKENS / spawner.user.name / "token")


def make_token_folder(spawner: Spawner) -> None:
    """Make a user's folder for the token before a server starts.

    Raises
    ------
    PermissionError
        Somebody else made it, can enter it, or can exchange a folder above it.
    """
    hub = os.geteuid()
    uid, gid = hub, os.getegid()
    if hub == 0 and not isinstance(spawner, SimpleLocalProcessSpawner):
        found = pwd.getpwnam(spawner.user.name)
        uid, gid = found.pw_uid, found.pw_gid
    if not TOKENS.exists():
        TOKENS.mkdir(parents=True)
        TOKENS.chmod(0o711)  # whatever the umask is, users go through to their own
    for folder in (TOKENS, *TOKENS.resolve().parents):
        found = folder.lstat()
        others = 0 if folder != TOKENS and found.st_mode & stat.S_ISVTX else 0o022
        safe = stat.S_ISDIR(found.st_mode) and not found.st_mode & others
        if not (safe and found.st_uid in {0, hub}):
            msg = f"{folder}: others may write there: choose CASA_HUB_TOKEN_FOLDER"
            raise PermissionError(msg)
    folder = TOKENS / spawner.user.name
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        found = folder.lstat()
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if not (private and found.st_uid == uid):
            msg = f"{folder} is not a private folder of uid {uid}: remove it"
            raise PermissionError(msg) from None
    else:
        os.chown(folder, uid, gid)


accounts()  # a table that cannot be read is said at start, not to the first user

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
c.GenericOAuthenticator.username_claim = account
c.GenericOAuthenticator.scope = os.environ.get(
    "OIDC_SCOPE", "openid profile offline_access wlcg.groups storage.read:/"
).split()
c.GenericOAuthenticator.extra_authorize_params = {"prompt": "consent"}
c.GenericOAuthenticator.allow_all = True  # whoever got an account above
c.GenericOAuthenticator.username_pattern = ACCOUNT

# The lab, with the configuration that an image has below /etc.
c.Spawner.cmd = [str(Path(sys.executable).with_name("jupyterhub-singleuser"))]
c.Spawner.default_url = "/lab"
c.Spawner.pre_spawn_hook = make_token_folder
c.Spawner.environment.update(
    {
        "BEARER_TOKEN_FILE": token_file,
        "DASK_CONFIG": str(ENVIRONMENT / "dask" / "casa.yaml"),
        "JUPYTER_CONFIG_PATH": str(ENVIRONMENT / "jupyter"),
    }
)
