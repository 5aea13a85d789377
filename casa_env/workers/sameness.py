"""Environments: what is installed here, compared with scheduler and workers."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from casa_env.errors import ClusterError, EnvironmentMismatchError
from casa_env.workers import remote

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)

#: What lab.lock adds to worker.lock: only people look at it, and a worker may lack it.
FOR_PEOPLE: Final = """
aiodns appnope argon2-cffi argon2-cffi-bindings arrow async-lru babel beautifulsoup4
bleach certipy colorama coverage dask-labextension debugpy defusedxml editables
entrypoints escapism fastjsonschema fqdn hatchling hepdata-lib hepdata-validator
iniconfig ipykernel ipympl iso8601 isoduration json5 jupyter-builder jupyter-client
jupyter-core jupyter-events jupyter-lsp jupyter-repo2docker jupyter-resource-usage
jupyter-server jupyter-server-proxy jupyter-server-terminals jupyterhub jupyterlab
jupyterlab-git jupyterlab-git-core jupyterlab-pygments jupyterlab-server mistune
nbclient nbconvert nbdime nbformat nbgitpuller nbstripout nbval nest-asyncio2 notebook
notebook-shim oauthlib overrides pamela pandocfilters pathspec pip platformdirs pluggy
pooch psycopg psycopg-binary pycares pytest python-json-logger pywinpty
rfc3339-validator rfc3986-validator semver send2trash simpervisor soupsieve terminado
tinycss2 tomlkit trove-classifiers tzdata uri-template webcolors webencodings
websocket-client
""".split()  # noqa: SIM905 - a list of eighty lines says no more

#: The plugin that compares workers that join later.
GUARD: Final = "casa-env-guard"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A Python and what is installed, or was shipped, there: names and versions."""

    python: str
    platform: str
    casa_env: str
    packages: tuple[tuple[str, str], ...]
    shipped: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits that are equal where the contents are."""
        content: list[object] = [self.python, self.platform, self.packages]
        content += [self.shipped] if self.shipped else []
        text = json.dumps(content, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def environment_here(paths: Iterable[str] | None = None) -> Environment:
    """Return what is installed for the Python that runs now, or in some folders."""
    found = remote.describe()
    packages = found["packages"] if paths is None else remote.installed(paths)
    return Environment(
        python=found["python"],
        platform=found["platform"],
        casa_env=packages.get("casa-env", "not installed"),
        packages=tuple(sorted(packages.items())),
        shipped=tuple(sorted(found["shipped"].items())),
    )


def environment_info(environment: Environment | None = None) -> str:
    """Return a Markdown list of what is installed here, for bug reports.

    Parameters
    ----------
    environment
        What to describe; by default this environment.
    """
    environment = environment or environment_here()
    lines = [
        f"* environment: {environment.id}",
        f"* python: {environment.python}",
        f"* platform: {environment.platform}",
        f"* casa-env: {environment.casa_env}",
        "* packages:",
        *(f"    * {name}: {version}" for name, version in environment.packages),
    ]
    return "\n".join(lines)


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
    """Compare all at once, then leave a guard for workers to come."""
    if require == "off":
        return
    ours = remote.describe()
    ours |= {"shipped": dict(shipped_to(client)), "for_people": FOR_PEOPLE}
    scheduler: dict[str, Any] = await client.run_on_scheduler(  # type: ignore[no-untyped-call]
        eval, *remote.call("describe")
    )
    scheduler["shipped"] = ours["shipped"]  # it serves others' clients, too
    answers: dict[str, Any] = {"scheduler": scheduler}
    workers = await client.run(eval, *remote.call("describe"), on_error="return")
    answers |= {f"worker {address}": answer for address, answer in workers.items()}
    problems = {}
    for name, answer in answers.items():
        if isinstance(answer, BaseException):
            problems[name] = [("an answer", "expected", repr(answer))]
        elif found := remote.differences(ours, answer, require):
            problems[name] = found
    if problems:
        raise mismatch(problems, total=len(answers))
    # What a scheduler has heard of refusals before this client came is others' past.
    earlier = await client.get_events(remote.TOPIC)
    vars(client)["casa_env_since"] = max((when for when, _ in earlier), default=0.0)
    guard = remote.plugin("WorkerPlugin", "Guard", GUARD, ours, require)
    await client.register_plugin(guard)
    client.subscribe_topic(remote.TOPIC, _log_refusal)  # type: ignore[no-untyped-call]


def mismatch(
    problems: Mapping[str, Iterable[tuple[str, str, str]]], *, total: int
) -> EnvironmentMismatchError:
    """Return the error of environments that differ, of so many that were asked."""
    found = {name: tuple(map(tuple, rows)) for name, rows in problems.items()}
    what = f"What runs on {len(found)} of {total} is not what runs here, so that "
    return EnvironmentMismatchError(
        f"{what}nothing was run.",
        differences=found,
        looked_at="\n".join(f"{name}\n{table(rows)}" for name, rows in found.items()),
        next_step="Start workers with this environment or image, or choose the "
        "notebook's to be theirs; casa_env.ship brings code and distributed.PipInstall "
        "packages that are missing; dask_require = 'off' takes the risk.",
    )


def table(rows: Iterable[Iterable[str]]) -> str:
    """Return differences as a table of package, client and worker."""
    lines = [("package", "client", "worker"), *map(tuple, rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(3)]
    padded = ("    " + "  ".join(map(str.ljust, line, widths)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def shipped_to(client: Client) -> dict[str, str]:
    """Return the digests of what was shipped with a client, by name; to be added to."""
    shipped: dict[str, str] = vars(client).setdefault("casa_env_shipped", {})
    return shipped


def raise_refusals(client: Client) -> None:
    """Raise if a worker has refused to start since the client came."""
    since = vars(client).get("casa_env_since", 0.0)
    events = client.get_events(remote.TOPIC)
    messages = [message for when, message in events if when > since]
    different = {
        f"worker {message['name']} on {message['host']}": message["differences"]
        for message in messages
        if "differences" in message
    }
    if different:
        raise mismatch(different, total=len(different))
    if messages:
        what, where = "Code that was shipped keeps workers from starting.", messages[0]
        where, step = _refusal_text(where), "Mend it, and ship it again."
        raise ClusterError(what, looked_at=where, next_step=step, kind="shipping")


def _refusal_text(message: Mapping[str, Any]) -> str:
    who = f"Worker {message['name']} on {message['host']} did not start"
    if "differences" in message:
        return f"{who}; its environment differs:\n{table(message['differences'])}"
    return f"{who}: {message['code']} cannot be imported: {message['reason']}"


def _log_refusal(event: tuple[float, dict[str, Any]]) -> None:
    logger.warning("%s", _refusal_text(event[1]))  # nobody may be waiting for it
