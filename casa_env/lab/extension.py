"""JupyterLab: what a clone starts it with, and what it does while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shlex
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from casa_env.errors import CasaEnvError, CredentialsError, SettingsError
from casa_env.settings import Settings, load_settings
from casa_env.settings.places import content_of, whole

logger = logging.getLogger(__name__)

#: The clone that this casa_env is installed from, if it is, and what opens first there.
CLONE: Final = Path(__file__).resolve().parents[2]
WELCOME: Final = "notebooks/00-welcome.ipynb"

#: What a kernel says of its language when a notebook is saved; the name is in git.
_LANGUAGE: Final = " ".join(
    f"metadata.language_info.{key}"
    for key in (
        "codemirror_mode",
        "file_extension",
        "mimetype",
        "nbconvert_exporter",
        "pygments_lexer",
        "version",
    )
)
_STRIP: Final = ("-P", "-m", "nbstripout", "--keep-id", "--extra-keys", _LANGUAGE)
_one_at_a_time = threading.Lock()


def clone_root(root: Path = CLONE) -> Path:
    """Return the clone, which has JupyterLab's configuration; an image's is in /etc."""
    if (folder := root / "environment" / "jupyter").is_dir():
        return root
    what = "JupyterLab's configuration is not beside casa_env."
    step = "Run `make lab` in a clone, or `jupyter lab` in an image."
    raise CasaEnvError(what, looked_at=str(folder), next_step=step)


def base_path(base_url: str) -> str:
    """Return the path that a server answers under, with one slash at either end."""
    if any(sign in base_url for sign in ":?#{}") or base_url.startswith("//"):
        what = f"The base URL {base_url!r} is not a path."
        step = "Give the path alone, such as /user/alice/."
        raise SettingsError(what, looked_at="--base-url", next_step=step)
    path = base_url.strip("/")
    return f"/{path}/" if path else "/"


def lab_environment(
    environ: Mapping[str, str], *, clone: Path, base_url: str = "/"
) -> dict[str, str]:
    """Return the variables of JupyterLab in a clone, and of all that it starts.

    What the user named comes first. A hub has the same files in ``/etc``, where
    ``environment/dask/casa.yaml`` takes the base URL from the hub's variable.
    """

    def first(*parts: str | Path | None) -> str:
        return os.pathsep.join(str(part) for part in parts if part)

    ours = clone / "environment"
    # A file, not its folder: Dask's packages write commented defaults into the folder
    # that DASK_CONFIG names, or into ~/.config/dask without one.
    dask = {"DASK_CONFIG": str(ours / "dask" / "casa.yaml")}
    if environ.get("DASK_CONFIG"):
        dask = {"DASK_ROOT_CONFIG": str(ours / "dask")}
    jupyter = first(environ.get("JUPYTER_CONFIG_PATH"), ours / "jupyter")
    link = f"{base_path(base_url)}proxy/{{port}}/status"
    return {
        **environ,
        **dask,
        "DASK_DISTRIBUTED__DASHBOARD__LINK": link,
        "JUPYTER_CONFIG_PATH": jupyter,
        "JUPYTER_PREFER_ENV_PATH": "1",  # our kernel, before one installed elsewhere
        "PATH": first(Path(sys.executable).parent, environ.get("PATH")),
        # for the workers that the Dask panel starts
        "PYTHONPATH": first(clone / "notebooks", environ.get("PYTHONPATH")),
    }


def lab_command(
    *,
    clone: Path,
    port: int = 8888,
    base_url: str = "/",
    browser: bool = True,
    quiet: bool = True,
    as_root: bool = False,
) -> list[str]:
    """Return the command that starts JupyterLab, its token left to Jupyter.

    Where the port is taken Jupyter takes the next. ``quiet`` leaves of its log warnings
    and the URL to open, which is more than log only where Jupyter made the token.
    """
    # jupyter-resource-usage 1.3.0 prints this once for every kernel; the filter may go
    # when it calls json_default instead.
    noise = "-Wignore:date_default is deprecated:UserWarning"
    command = [sys.executable, "-P", noise, "-m", "jupyterlab"]
    command += ["--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={clone}"]
    command += [f"--ServerApp.base_url={base_path(base_url)}"]
    command += ["--FileContentsManager.post_save_hook=casa_env.lab.extension.saved"]
    if (clone / WELCOME).is_file():
        command += [f"--LabApp.default_url=/lab/tree/{WELCOME}"]
    command += ["--log-level=WARN", "--LabApp.log_level=WARN"] if quiet else []
    command += [] if browser else ["--no-browser"]
    return command + (["--allow-root"] if as_root else [])


def keep_clean(clone: Path) -> None:
    """Let git see the notebooks without what running them adds, by nbstripout.

    So a clone stays clean, and can be pulled. Git's configuration is this clone's own.
    """
    command = shlex.join((sys.executable, *_STRIP))
    _git(clone, "config", "filter.casa-notebook.clean", command)


def saved(*, os_path: str, model: dict[str, Any], **_: object) -> None:
    """Let git look at a notebook that Jupyter saved (``post_save_hook``)."""
    if model["type"] == "notebook":
        threading.Thread(target=_look_again, args=(Path(os_path),)).start()


def _look_again(notebook: Path) -> None:
    # Git does not ask the filter about a file whose size changed. What its user has
    # edited is left for them to add, and so is a new notebook.
    with _one_at_a_time:
        if _git(notebook.parent, "diff", "--quiet", "--", notebook.name):
            _git(notebook.parent, "update-index", "--", notebook.name)


def _git(folder: Path, *arguments: str) -> bool:
    """Return whether git could and did; without it there is nothing to keep clean."""
    with contextlib.suppress(OSError):
        command = ["git", "-C", str(folder), *arguments]
        return not subprocess.run(command, check=False, capture_output=True).returncode  # noqa: S603
    return False


def hub_token(environ: Mapping[str, str], *, timeout: float) -> str:
    """Ask the hub for the access token of its user's login, which it keeps fresh.

    Its role needs ``admin:auth_state!user`` (JupyterHub, "Authentication state").
    """
    api, user = environ.get("JUPYTERHUB_API_URL", ""), environ.get("JUPYTERHUB_USER")
    where, what = f"{api}/users/{user}", "There is no hub to ask for a token."
    if user and api.startswith(("http://", "https://")):
        request = urllib.request.Request(where)  # noqa: S310 - checked
        ours = f"token {environ.get('JUPYTERHUB_API_TOKEN')}"
        request.add_unredirected_header("Authorization", ours)  # for the hub alone
        what = "The hub keeps no token of this login."
        try:
            opener = urllib.request.build_opener()  # with the proxies of the moment
            with opener.open(request, timeout=timeout) as answer:
                login = json.load(answer).get("auth_state") or {}
            if token := login.get("access_token"):
                return str(token)
        except urllib.error.HTTPError as err:
            err.close()  # it is the answer, too, with its connection
            what = f"The hub gave no token: it answered {err.code}."
        except (AttributeError, OSError, ValueError) as err:
            what = f"The hub gave no token: {type(err).__name__}."
    step = "Set hub_token_s only below a hub that loads token_renewal.py; log in again."
    raise CredentialsError(what, looked_at=where, next_step=step, kind="hub")


def write_token(token: str, path: Path) -> bool:
    """Write a token, if it is new, to a file that only its user can read, whole."""
    with contextlib.suppress(OSError, ValueError):
        if content_of(path, named=True).decode().strip() == token:
            return False
    with whole(path) as new:
        new.touch(mode=0o600)
        new.write_text(token)
    return True


async def keep_token(settings: Settings, environ: Mapping[str, str]) -> None:
    """Keep the token's file equal to the hub's token, where a facility asks for it."""
    path, every = settings.bearer_token_file, settings.hub_token_s
    while path is not None and every:
        try:
            patience = settings.timeout_s
            token = await asyncio.to_thread(hub_token, environ, timeout=patience)
            if write_token(token, path):
                logger.info("%s has a new token", path)
        except (CredentialsError, OSError) as err:
            logger.warning("%s keeps the token it has: %s", path, err)
        await asyncio.sleep(every)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Keep the token while Jupyter runs; close the Dask panel's clusters at its end.

    dask-labextension 7.0.0 leaves its clusters to `distributed`, whose exit handler
    waits ten seconds for an event loop that has stopped, and then drops the workers.
    """
    from jupyter_server.extension.application import ExtensionApp

    class Casa(ExtensionApp):
        name = "casa_env"
        keeper: asyncio.Task[None] | None = None

        async def _start_jupyter_server_extension(self, serverapp: Any) -> None:  # noqa: ANN401, ARG002 - Jupyter's
            self.keeper = asyncio.create_task(keep_token(load_settings(), os.environ))

        async def stop_extension(self) -> None:
            from dask_labextension.manager import manager  # type: ignore[import-untyped]

            if self.keeper is not None:
                self.keeper.cancel()
            await manager.close()

    return [{"module": __name__, "app": Casa}]
