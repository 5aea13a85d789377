"""Where are we: a laptop, Binder or a facility. Pure: mappings in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["BINDER", "FACILITY", "LOCAL", "SITES", "detected_site", "site_defaults"]

LOCAL: Final = "local"
BINDER: Final = "binder"
FACILITY: Final = "facility"

#: The kinds of site there are.
SITES: Final = (LOCAL, BINDER, FACILITY)

#: BinderHub sets these in every container that it starts.
BINDER_VARIABLES: Final = (
    "BINDER_LAUNCH_HOST",
    "BINDER_PERSISTENT_REQUEST",
    "BINDER_REF_URL",
    "BINDER_REPO_URL",
    "BINDER_REQUEST",
)

#: JupyterHub sets these in every single-user server that it starts. Its third one,
#: JUPYTERHUB_SERVICE_PREFIX, does not count: an image sets it to "/" for Dask's links.
HUB_VARIABLES: Final = ("JUPYTERHUB_API_URL", "JUPYTERHUB_USER")


def detected_site(environ: Mapping[str, str]) -> str:
    """Return which kind of site the environment variables speak of.

    Parameters
    ----------
    environ
        Environment variables.

    Returns
    -------
    str
        ``"local"`` on a laptop or in a batch job, ``"binder"`` on Binder,
        ``"facility"`` under any other JupyterHub.

    Notes
    -----
    Binder is a JupyterHub too, so its own variables are looked at first
    (BinderHub, ``binderhub/launcher.py``; JupyterHub, ``Spawner.get_env``).
    A variable that is set but empty counts as not set.

    Examples
    --------
    >>> detected_site({"JUPYTERHUB_USER": "alice"})
    'facility'
    >>> detected_site({"JUPYTERHUB_USER": "x", "BINDER_REQUEST": "v2/gh/a/b/main"})
    'binder'
    """
    if any(environ.get(name) for name in BINDER_VARIABLES):
        return BINDER
    if any(environ.get(name) for name in HUB_VARIABLES):
        return FACILITY
    return LOCAL


def site_defaults(site: str) -> dict[str, bool]:
    """Return the settings that a kind of site implies.

    Parameters
    ----------
    site
        One of `SITES`.

    Returns
    -------
    dict
        Names of settings and their values: nothing on a laptop; on Binder no
        worker processes, because each costs some 200 MB of the 1-2 GB there are;
        nothing at a facility, where the administrator's file speaks.
    """
    return {"dask_processes": False} if site == BINDER else {}
