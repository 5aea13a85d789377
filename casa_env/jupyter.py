"""JupyterLab: what a clone starts it with, and what it does when it stops."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from casa_env.errors import CasaEnvError, SettingsError

__all__ = ["clone_root", "lab_command", "lab_environment", "normal_base_url"]

#: What opens first, below the clone's root, where it is there.
WELCOME = Path("notebooks", "00-welcome.ipynb")


def clone_root(package: Path | None = None) -> Path:
    """Return the clone that this casa_env is installed from.

    Parameters
    ----------
    package
        The package's folder; by default the one that this module is in.

    Returns
    -------
    pathlib.Path
        The folder that holds ``environment/jupyter`` and ``notebooks``.

    Raises
    ------
    CasaEnvError
        casa_env is not installed from a clone. An image is such a place: its
        configuration is in ``/etc`` and ``jupyter lab`` finds it there.
    """
    package = package or Path(__file__).resolve().parent
    root = package.parent
    if not (root / "environment" / "jupyter").is_dir():
        what = "JupyterLab's configuration is not beside casa_env."
        raise CasaEnvError(
            what,
            looked_at=str(root / "environment" / "jupyter"),
            next_step="Run `make lab` in a clone, or `jupyter lab` in an image.",
        )
    return root


def normal_base_url(base_url: str) -> str:
    """Return a base URL with one slash at either end, as Jupyter writes it.

    Parameters
    ----------
    base_url
        The path that the server answers under: ``/``, ``user/alice``, ...

    Returns
    -------
    str
        The same path; giving it in again changes nothing.

    Raises
    ------
    SettingsError
        It is more than a path.

    Examples
    --------
    >>> normal_base_url("user/alice")
    '/user/alice/'
    >>> normal_base_url("")
    '/'
    """
    if any(sign in base_url for sign in ":?#{}") or base_url.startswith("//"):
        what = f"The base URL {base_url!r} is not a path."
        raise SettingsError(
            what,
            looked_at="--base-url",
            next_step="Give the path alone, such as /user/alice/.",
        )
    path = base_url.strip("/")
    return f"/{path}/" if path else "/"


def lab_environment(
    environ: Mapping[str, str], *, clone: Path, base_url: str = "/"
) -> dict[str, str]:
    """Return the environment variables of JupyterLab and of all that it starts.

    Parameters
    ----------
    environ
        The environment variables there are; left as they are.
    clone
        The clone's root, as from `clone_root`.
    base_url
        The path that the server answers under.

    Returns
    -------
    dict
        A copy with these changes. ``JUPYTER_CONFIG_PATH`` and ``DASK_CONFIG`` lead
        to the configuration in ``environment/``; what the user named there
        comes first. ``DASK_DISTRIBUTED__DASHBOARD__LINK`` leads dashboards through
        the server. ``PYTHONPATH`` lets the workers that the Dask panel starts import
        what lies beside the notebooks. ``PATH`` lets terminals and ``!`` cells
        find this environment's programs, and ``JUPYTER_PREFER_ENV_PATH`` lets
        notebooks find its kernel before one that the user installed elsewhere.

    Raises
    ------
    SettingsError
        The base URL is more than a path.

    Notes
    -----
    On a laptop this is what `make lab` uses. On Binder and at a facility the hub
    starts the server: there the same files are in ``/etc``, and
    ``environment/dask/casa.yaml`` reads the base URL from the hub's variable.
    """
    configuration = clone / "environment"
    # A file, not its folder: Dask's packages write commented defaults into the
    # folder that DASK_CONFIG names, or into ~/.config/dask without one.
    dask = {"DASK_CONFIG": str(configuration / "dask" / "casa.yaml")}
    if environ.get("DASK_CONFIG"):
        dask = {"DASK_ROOT_CONFIG": str(configuration / "dask")}
    link = f"{normal_base_url(base_url)}proxy/{{port}}/status"
    return {
        **environ,
        **dask,
        "DASK_DISTRIBUTED__DASHBOARD__LINK": link,
        "JUPYTER_CONFIG_PATH": _path_list(
            environ.get("JUPYTER_CONFIG_PATH"), str(configuration / "jupyter")
        ),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PATH": _path_list(str(Path(sys.executable).parent), environ.get("PATH")),
        "PYTHONPATH": _path_list(str(clone / "notebooks"), environ.get("PYTHONPATH")),
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
    """Return the command that starts JupyterLab, token and all left to Jupyter.

    Parameters
    ----------
    clone
        The clone's root: the folder that JupyterLab shows.
    port
        The port on 127.0.0.1; where it is taken, Jupyter takes the next free one.
    base_url
        The path that the server answers under.
    browser
        Open a browser, where there is one.
    quiet
        Leave out Jupyter's log, but for warnings and the URL to open. Jupyter writes
        that URL as more than log only where it has made the token itself.
    as_root
        The user is root, which Jupyter refuses unless told.

    Returns
    -------
    list of str
        The program and its arguments, for ``os.execve`` or `subprocess`. The program
        is the Python that runs now, so that notebooks run in this environment.

    Raises
    ------
    SettingsError
        The base URL is more than a path.
    """
    path = normal_base_url(base_url)
    command = [
        sys.executable,
        # jupyter-resource-usage 1.3.0 prints this once for every kernel; the filter may
        # go when it calls json_default instead.
        "-Wignore:date_default is deprecated:UserWarning",
        "-m",
        "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        f"--ServerApp.base_url={path}",
        f"--ServerApp.root_dir={clone}",
    ]
    if (clone / WELCOME).is_file():
        command.append(f"--LabApp.default_url=/lab/tree/{WELCOME.as_posix()}")
    if quiet:
        command += ["--log-level=WARN", "--LabApp.log_level=WARN"]
    if not browser:
        command.append("--no-browser")
    if as_root:
        command.append("--allow-root")
    return command


def _path_list(*parts: str | None) -> str:
    """Join the parts that are not empty as PATH-like variables are written."""
    return os.pathsep.join(part for part in parts if part)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Give Jupyter MLflow's page, keep the token, close the panel's clusters at exit.

    Notes
    -----
    dask-labextension 7.0.0 leaves its clusters to `distributed`, whose exit handler
    waits ten seconds for an event loop that has already stopped, and then drops the
    workers. Closing them may go when dask-labextension does it in time itself.

    jupyter-server-proxy takes servers from the configuration when it is loaded; Jupyter
    loads extensions in the order of their names, so this one is there before.
    """
    import asyncio

    from jupyter_server.extension.application import ExtensionApp

    class Casa(ExtensionApp):
        name = "casa_env"
        keeper: asyncio.Task[None] | None = None

        def initialize_handlers(self) -> None:
            from casa_env.hub_token import keep_token
            from casa_env.settings import load_settings

            async def start() -> None:
                work = keep_token(load_settings(), os.environ)
                self.keeper = asyncio.create_task(work)

            if self.serverapp is not None:
                self.serverapp.io_loop.add_callback(start)

        def initialize_settings(self) -> None:
            from casa_env.mlflow_ui import mlflow_proxy

            page = mlflow_proxy()
            if page is not None and self.serverapp is not None:
                proxy = self.serverapp.config.ServerProxy
                proxy["servers"] = {page.name: page, **proxy.get("servers", {})}

        async def stop_extension(self) -> None:
            from dask_labextension.manager import (  # type: ignore[import-untyped]
                manager,
            )

            if self.keeper is not None:
                self.keeper.cancel()
            await manager.close()

    return [{"module": __name__, "app": Casa}]
