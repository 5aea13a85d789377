"""A real JupyterHub with a real proxy and a real OpenID Connect provider."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.hub import Hub
from support.node import node_modules
from support.processes import free_port, running, wait_for

#: How long an access token is good, and after how long it is exchanged, in seconds.
TOKEN_S = 30
AGE_S = 3

#: How long the hub and its servers may take to start on a loaded machine, in seconds.
PATIENCE_S = 120.0

#: What a test's hub has different: everything in a folder, on ports that are free.
CONFIGURATION = """
c = get_config()
load_subconfig({configuration!r})
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = "sqlite:///{folder}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{folder}/cookie-secret"
c.JupyterHub.pid_file = ""
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{folder}/home/{{username}}"
c.ConfigurableHTTPProxy.command = ["node", {proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = "{folder}/proxy.pid"
c.Spawner.ip = "127.0.0.1"
c.Spawner.args = ["--allow-root"]
c.Spawner.start_timeout = c.Spawner.http_timeout = {patience}
c.Spawner.environment["CASA_ENV_SITE_FILE"] = "{folder}/site.toml"
"""

#: Who may log in, and as whom; in all tests nobody else.
USERS = """
"sub-of-alice" = "alice"
"sub-of-bob" = "bob"
"sub-of-carol" = "carol"
"""

#: What the site says to its users' servers.
SITE = """
site = "facility"
token_hosts = ["storage.example.org"]
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Hub]:
    """Start provider, hub and proxy; stop them and the servers they started."""
    modules = node_modules(repository / ".cache")
    folder = tmp_path_factory.mktemp("hub")
    port, provider_port, hub_port, proxy_port = (free_port() for _ in range(4))
    url = f"http://127.0.0.1:{port}"
    shutil.copy(Path(__file__).with_name("provider.mjs"), modules.parent)
    configuration = repository / "environment" / "jupyterhub" / "jupyterhub_config.py"
    file = folder / "jupyterhub_config.py"
    file.write_text(
        CONFIGURATION.format(
            configuration=str(configuration),
            folder=folder,
            hub_port=hub_port,
            proxy=str(modules / "configurable-http-proxy/bin/configurable-http-proxy"),
            proxy_port=proxy_port,
            patience=int(PATIENCE_S),
        )
    )
    (folder / "site.toml").write_text(SITE)
    (folder / "users.toml").write_text(USERS)
    environ = {
        "CASA_HUB_TOKEN_AGE_S": str(AGE_S),
        "CASA_HUB_TOKEN_FOLDER": str(folder / "tokens"),
        "CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(32),
        "HOME": str(folder),
        "HUB_URL": url,
        "HUB_USERS": str(folder / "users.toml"),
        "JUPYTERHUB_CRYPT_KEY": secrets.token_hex(32),
        "OAUTH_CLIENT_ID": "casa",
        "OAUTH_CLIENT_SECRET": "only-for-this-test",
        "OIDC_ISSUER": f"http://127.0.0.1:{provider_port}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    provider = ["node", str(modules.parent / "provider.mjs"), str(provider_port)]
    log = folder / "provider.log"
    with running([*provider, url, str(TOKEN_S)], log=log) as issuer:
        wait_for(issuer, "provider is up", log=log)
        log = folder / "hub.log"
        command = [sys.executable, "-m", "jupyterhub", "--config", str(file)]
        with running(command, log=log, environ=environ) as server:
            wait_for(server, "JupyterHub is now running", log=log, timeout=PATIENCE_S)
            yield Hub(url, log, folder / "tokens")
            server.terminate()  # it stops servers and proxy, which lead own groups
            server.wait(PATIENCE_S)
