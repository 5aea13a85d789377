"""Environments compared across a cluster: client, scheduler, every worker."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from casa_env.errors import EnvironmentMismatchError
from casa_env.travel import call, plugin
from casa_env.worker_side import TOPIC, describe, differences, here, installed

if TYPE_CHECKING:
    from distributed import Client
    from packaging.requirements import Requirement

__all__ = [
    "EXTRA_FOLDERS",
    "FOR_PEOPLE",
    "compare",
    "compare_environments",
    "mismatch",
    "refusal_text",
    "refusals",
    "shipped_to",
    "table",
]

logger = logging.getLogger(__name__)

#: What lab.in adds to worker.in: only people look at it, and a worker may lack it.
FOR_PEOPLE: Final = (
    *("jupyterlab", "jupyter-server-proxy", "jupyter-resource-usage"),
    *("jupyterlab-git", "dask-labextension", "nbgitpuller", "ipympl", "ipywidgets"),
    *("nbclient", "nbformat", "pip", "jupyterhub", "jupyter-repo2docker", "notebook"),
    *("pytest", "nbval", "hatchling", "editables", "hepdata-lib", "pooch"),
)

#: The folders of extra packages that this process has shipped.
EXTRA_FOLDERS: Final[list[str]] = []

_SHIPPED: Final[WeakKeyDictionary[Client, dict[str, str]]] = WeakKeyDictionary()

#: When the scheduler had last heard of a refusal before a client came: others' past.
_SINCE: Final[WeakKeyDictionary[Client, float]] = WeakKeyDictionary()


def compare_environments(client: Client, *, require: str = "compatible") -> Any:  # noqa: ANN401 - None, or an awaitable
    """Raise if scheduler or workers differ from the client; watch those to come.

    `casa_env.dask_client` does this before the first task. On a laptop and on Binder
    the workers run the notebook's own Python. At a facility a worker may run another
    image, and one that joins later and differs closes before it gets a task.

    Parameters
    ----------
    client
        A client of any scheduler. With an asynchronous one, await the result.
    require
        ``"identical"``: nothing may differ. ``"compatible"``: Python's minor version
        and each package that both have must be equal, and every package of the client
        must be there, except those that only people look at, such as JupyterLab; more
        may be there. ``"off"``: nothing is compared.

    Raises
    ------
    EnvironmentMismatchError
        With a table of package, client and worker.
    """
    return client.sync(compare, client, require)  # type: ignore[no-untyped-call]


async def compare(client: Client, require: str) -> None:
    """Compare all at once, then leave a guard for workers to come.

    Parameters
    ----------
    client, require
        As for `compare_environments`.

    Raises
    ------
    EnvironmentMismatchError
        With a table of package, client and worker.
    """
    if require == "off":
        return
    ours = describe() | {"shipped": dict(shipped_to(client))}
    # Each is asked with builtins and source text only: another Python can read that.
    where = await client.run_on_scheduler(eval, *call("here"))  # type: ignore[no-untyped-call]
    ours_too = tuple(where) == here()  # then there is nothing to compare
    scheduler = dict(ours)
    if not ours_too:
        scheduler = await client.run_on_scheduler(eval, *call("describe"))  # type: ignore[no-untyped-call]
    workers = await client.run(eval, *call("describe"), on_error="return")
    # What was shipped goes through a scheduler, which does not import it.
    scheduler["shipped"] = ours["shipped"]
    scheduler["packages"] = installed(EXTRA_FOLDERS) | scheduler["packages"]
    answers: dict[str, Any] = {"scheduler": scheduler}
    answers |= {f"worker {address}": answer for address, answer in workers.items()}
    if any(len(a["packages"]) < len(ours["packages"]) for a in answers.values()):
        ours["for_people"] = sorted(_for_people(ours["packages"]))
    problems = {}
    for name, answer in answers.items():
        if isinstance(answer, BaseException):
            problems[name] = [("an answer", "expected", repr(answer))]
        elif found := differences(ours, answer, require):
            problems[name] = found
    if problems:
        raise mismatch(problems, total=len(answers))
    if "for_people" not in ours and not _is_local(client):
        ours["for_people"] = sorted(_for_people(ours["packages"]))
    earlier = await client.get_events(TOPIC)
    _SINCE[client] = max((when for when, _ in earlier), default=0.0)
    await client.register_plugin(plugin("Guard", client=ours, require=require))
    client.subscribe_topic(TOPIC, _tell)  # type: ignore[no-untyped-call]


def mismatch(
    problems: Mapping[str, Iterable[tuple[str, str, str]]], *, total: int
) -> EnvironmentMismatchError:
    """Word the error of environments that differ.

    Parameters
    ----------
    problems
        For each scheduler or worker: package, the client's version, theirs.
    total
        How many were asked.
    """
    found = {name: tuple(map(tuple, rows)) for name, rows in problems.items()}
    what = (
        f"What runs on {len(found)} of {total} is not what runs here, so that nothing "
        "was run."
    )
    shown = [f"{name}\n{table(rows)}" for name, rows in found.items()]
    return EnvironmentMismatchError(
        what,
        differences=found,
        looked_at="\n".join(shown),
        next_step="Start workers with this environment or image, or choose the "
        "notebook's to be theirs; casa_env.ship sends code and packages that are "
        "missing; dask_require = 'off' takes the risk.",
    )


def table(rows: Iterable[Iterable[str]]) -> str:
    """Return differences as a table.

    Parameters
    ----------
    rows
        Package, the client's version, the worker's.

    Examples
    --------
    >>> print(table([("awkward", "2.9.0", "2.8.1")]))
        package  client  worker
        awkward  2.9.0   2.8.1
    """
    lines = [("package", "client", "worker"), *map(tuple, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    return "\n".join(
        ("    " + "  ".join(map(str.ljust, line, widths))).rstrip() for line in lines
    )


def shipped_to(client: Client) -> dict[str, str]:
    """Return the digests of what was shipped with a client, by name; to be added to.

    Parameters
    ----------
    client
        The client.
    """
    return _SHIPPED.setdefault(client, {})


def refusals(client: Client) -> list[dict[str, Any]]:
    """Return what workers said that refused to start, the oldest first.

    Parameters
    ----------
    client
        A client that is not asynchronous. What a scheduler heard before it compared
        environments is not told.
    """
    since = _SINCE.get(client, 0.0)
    return [message for when, message in client.get_events(TOPIC) if when > since]


def _tell(event: tuple[float, dict[str, Any]]) -> None:
    """Log that a worker refused to start, which nobody may be waiting for."""
    _, message = event
    logger.warning("%s", refusal_text(message))


def refusal_text(message: Mapping[str, Any]) -> str:
    """Return the text of a refusal.

    Parameters
    ----------
    message
        As `refusals` gives it.
    """
    who = f"Worker {message['name']} on {message['host']} did not start"
    if "differences" in message:
        return f"{who}; its environment differs:\n{table(message['differences'])}"
    return f"{who}: {message['code']} cannot be imported: {message['reason']}"


def _is_local(client: Client) -> bool:
    """Tell whether the client's cluster starts all its workers with this Python."""
    from distributed import LocalCluster

    return isinstance(client.cluster, LocalCluster)


def _for_people(packages: Mapping[str, str]) -> set[str]:
    """Return the packages that are here only because people look at them.

    These are `FOR_PEOPLE` and what they require, less what anything else requires.
    """
    requires = {name: _requirements(name) for name in packages}
    wanted = _closure(FOR_PEOPLE, requires)
    return wanted - _closure(packages.keys() - wanted, requires)


def _closure(
    names: Iterable[str], requires: Mapping[str, Iterable[Requirement]]
) -> set[str]:
    """Return packages and all that they require here, with the extras asked for."""
    found: dict[str, set[str]] = {}
    queue = [(name, frozenset[str]()) for name in names]
    while queue:
        name, extras = queue.pop()
        if name not in requires or (name in found and extras <= found[name]):
            continue
        found.setdefault(name, set()).update(extras)
        for required in requires[name]:
            marker = required.marker
            if marker is None or any(
                marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                wanted = re.sub(r"[-_.]+", "-", required.name).lower()
                queue.append((wanted, frozenset(required.extras)))
    return set(found)


def _requirements(name: str) -> list[Requirement]:
    """Return what a package requires, with each of its extras."""
    from packaging.requirements import Requirement

    try:
        text = metadata.distribution(name).read_text("METADATA") or ""
    except metadata.PackageNotFoundError:
        return []
    # Not `metadata.requires`, which parses the whole file, long descriptions and all.
    head = text.partition("\n\n")[0].splitlines()
    lines = [x.partition(":")[2].strip() for x in head if x.startswith("Requires-Dist")]
    return [Requirement(line) for line in lines]
