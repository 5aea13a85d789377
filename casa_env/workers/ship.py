"""Code of the client's own, brought to scheduler and workers."""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from casa_env.errors import ClusterError
from casa_env.workers import remote
from casa_env.workers.sameness import shipped_to

if TYPE_CHECKING:
    from distributed import Client


def ship(client: Client, code: ModuleType | Path | str) -> Any:  # noqa: ANN401 - text, or an awaitable of it
    """Make a local module or package importable on every worker, now and later.

    Call it again after a change: workers import the new files, and forget the old.
    Nothing is copied where workers see the same files, as on a laptop, or are threads
    of the notebook, as on Binder. For packages, see `distributed.PipInstall`.

    Parameters
    ----------
    client
        The client, as from `casa_env.dask_client`.
    code
        A module, its name, or the path of a ``.py`` file or of a package's folder.

    Returns
    -------
    str
        The digest of the code, SHA-256 of names and contents. It is part of what
        `casa_env.compare_environments` compares. With an asynchronous client, await it.

    Raises
    ------
    ClusterError
        Of kind ``shipping``: there is no such code, or a worker cannot import it.
    """
    place = _place(code)
    if not place.stem.isidentifier():
        what = f"The name {place.name!r} cannot be imported."
        step = "Ship a .py file, or a package's folder, that Python can name."
        raise _error(what, str(place), step)
    if place.is_dir() and not (place / "__init__.py").is_file():
        what = f"{place.name} is a folder, but no package."
        raise _error(what, str(place), "Add an __init__.py, or ship its modules.")
    archive = remote.archived(place)
    return client.sync(_send, client, place.stem, archive)  # type: ignore[no-untyped-call]


def plugin_name(module: str) -> str:
    """Return the name of the plugin that brings a module."""
    return f"casa-env-code-{module}"


async def _send(client: Client, module: str, archive: bytes) -> str:
    digest = hashlib.sha256(archive).hexdigest()
    name = plugin_name(module)
    state = "Code", name, module, digest, archive, remote.process_here()
    try:
        # The scheduler must import the same code, because it reads what clients send
        # (distributed 2026.8.0, ``Scheduler.update_graph``).
        await client.register_plugin(remote.plugin("SchedulerPlugin", *state))
        await client.unregister_scheduler_plugin(name)
        await client.register_plugin(remote.plugin("WorkerPlugin", *state))
    except Exception as err:
        problem = f"{type(err).__name__}: {err}"
        what = f"{module} cannot be imported on the workers: {problem}"
        step = "Mend it, and ship it again; packages: distributed.PipInstall."
        raise _error(what, "", step) from err
    shipped_to(client)[module] = digest
    sys.__dict__.setdefault(remote.RECORD, {})[module] = digest
    return digest


def _place(code: ModuleType | Path | str) -> Path:
    """Return the file or the folder of some code."""
    if isinstance(code, ModuleType):
        code = code.__name__.partition(".")[0]
    elif isinstance(code, Path) or not code.isidentifier() or Path(code).exists():
        place = Path(code).resolve()
        if place.is_dir() or (place.suffix == ".py" and place.is_file()):
            return place
        what = "There is no such file, module or package to ship."
        step = "Give a module, its name, a .py file, or a package's folder."
        raise _error(what, str(place), step)
    spec = find_spec(code)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        what = f"There is no module {code!r} of Python files to ship."
        raise _error(what, "sys.path", "Give the path of its folder.")
    origin = Path(spec.origin)
    return origin.parent if spec.submodule_search_locations else origin


def _error(what: str, where: str, step: str) -> ClusterError:
    return ClusterError(what, looked_at=where, next_step=step, kind="shipping")
