"""Runs in MLflow: where they are recorded, with which token, and how they end.

`Plugin` is found by MLflow's own entry points (``pyproject.toml``) in every process
that imports MLflow: a plain ``mlflow.start_run`` is tagged and authenticated, too.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self
from urllib.parse import unquote, urlsplit

from casa_env.errors import TrackingError, innermost, require_package
from casa_env.models.provenance import (
    CONTEXT_S,
    context_tags,
    fileset_digest,
    write_record,
)
from casa_env.network import proxy_for
from casa_env.settings import Settings, load_settings
from casa_env.settings.places import catch_endings, own_folder, state_home
from casa_env.settings.table import shown
from casa_env.tokens.bearer import settings_here, token_value

if TYPE_CHECKING:
    from mlflow import ActiveRun, MlflowClient
    from requests import PreparedRequest

#: The folder of a run's artefacts that tells where it comes from.
RECORD: Final = "casa"


def mlflow_run(
    experiment: str,
    *,
    name: str = "",
    fileset: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> ActiveRun:
    """Start a run in MLflow; it records where its results come from.

    On a laptop and on Binder runs are kept in an SQLite database below
    ``XDG_STATE_HOME``, and nothing appears in the working directory. At a facility they
    go to its server, with the bearer token that the user has at each request.

    Parameters
    ----------
    experiment, name
        The experiment, made where it is missing, and the run; MLflow invents a name.
    fileset
        What is analysed, in any of coffea's shapes: its digest and files are recorded.
    tags
        More tags.
    settings
        Settings to use; by default those of this place.

    Returns
    -------
    mlflow.ActiveRun
        MLflow's own run, for ``with``; ``mlflow.log_metric`` and all the others log to
        it. A run that is interrupted (Ctrl-C, SIGTERM, a cancelled task) ends as
        ``KILLED``, and so do the runs below it that have not ended.

    Raises
    ------
    TrackingError
        If the store cannot be used; within ``timeout_s`` where it is a server.
    MissingPackageError
        If MLflow is not installed.

    Notes
    -----
    Tags, as of every ``mlflow.start_run``: ``casa.environment_id``, ``casa.python``,
    ``casa.version``, ``casa.site``, ``casa.site_name``, ``casa.git_commit`` and
    ``casa.git_dirty``; here ``casa.fileset_sha256``, too. Artefacts below ``casa/``:
    every package, the lock, the settings with their sources, the fileset.
    """
    settings = settings or load_settings()
    client = connect(settings)
    import mlflow

    digest = {"casa.fileset_sha256": fileset_digest(fileset)} if fileset else {}
    context_tags.cache_clear()
    with as_tracking_error("MLflow did not take the run", client.tracking_uri):
        run = mlflow.start_run(
            experiment_id=_experiment_id(client, experiment),
            run_name=name or None,
            tags={**digest, **(tags or {})},
        )
        with tempfile.TemporaryDirectory(prefix="casa-record-") as folder:
            write_record(Path(folder), settings, fileset)
            mlflow.log_artifacts(folder, RECORD)
    return interruptible(run)


def tracking_uri(settings: Settings) -> str:
    """Return where this place records runs: its server, or a database in one's home."""
    folder = state_home(os.environ) / "casa-env" / "mlflow"
    if settings.mlflow_uri or not {"%", "?"} & {*str(folder)}:
        return settings.mlflow_uri or f"sqlite:///{folder / 'mlflow.db'}"
    # Of "sqlite:", MLflow 3.17 would make the folder that has the quoted name.
    own_folder(folder)
    path = str(folder / "mlflow.db").replace("%", "%25").replace("?", "%3F")
    return f"sqlite+pysqlite:///{path}"


def is_server(uri: str) -> bool:
    """Tell whether a tracking URI is that of a server, not of a file or a database."""
    return urlsplit(uri).scheme in ("http", "https")


def artifact_folder(uri: str) -> Path | None:
    """Return where a database's artefacts go; ``None`` where its store decides.

    MLflow's own choice would be ``mlruns`` in the working directory.
    """
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme == "sqlite":
        return Path(unquote(uri.partition(":///")[2])).parent / "artifacts"
    if scheme in ("postgresql", "mysql", "mssql"):
        return state_home(os.environ) / "casa-env" / "mlflow" / "artifacts"
    return None


@contextlib.contextmanager
def as_tracking_error(what: str, uri: str, step: str = "") -> Iterator[None]:
    """Turn what MLflow raises into a `TrackingError` that says what to do."""
    from mlflow.exceptions import MlflowException

    step = step or "`casa-env doctor` looks at the store."
    try:
        yield
    except (MlflowException, OSError) as err:
        what = f"{what}: {innermost(err)}"
        raise TrackingError(what, looked_at=shown(uri), next_step=step) from err


def connect(settings: Settings, *, uri: str | None = None) -> MlflowClient:
    """Point MLflow at this place's store, or at another one, and return its client.

    This holds for the whole process, and MLflow notes it in ``MLFLOW_TRACKING_URI`` for
    those that it starts. MLflow's telemetry, which reports usage to its makers, is off
    unless the user set ``MLFLOW_DISABLE_TELEMETRY``.
    """
    require_package("mlflow", why="Recording a run")
    import mlflow
    from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY
    from mlflow.telemetry import client as telemetry

    if not MLFLOW_DISABLE_TELEMETRY.is_set():  # type: ignore[no-untyped-call]
        telemetry._set_telemetry_client(None)  # noqa: SLF001 - the only switch that is not a variable
    Plugin.settings = settings
    uri = uri or tracking_uri(settings)
    if is_server(uri):
        server_version(uri, settings)
    mlflow.set_tracking_uri(uri)
    step = "Correct mlflow_uri, or leave it empty to keep runs in your home."
    with as_tracking_error("Runs cannot be recorded", uri, step):
        if folder := artifact_folder(uri):
            own_folder(folder)
        return mlflow.MlflowClient(uri)


def server_version(uri: str, settings: Settings) -> str:
    """Ask a server as MLflow does, with its own variables; wait ``timeout_s``."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils import credentials, rest_utils

    Plugin.settings = settings
    ask: Any = rest_utils.http_request
    where = f"{shown(uri)}, from {settings.origin('mlflow_uri')}"
    if proxy := proxy_for(uri):
        where += f", through the proxy {proxy}"
    step = "Correct mlflow_uri, or ask whether the server is up."
    once = {"max_retries": 0, "raise_on_status": False, "timeout": settings.timeout_s}
    # Servers answer the first to anybody; the second is what runs need.
    experiment = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
    try:
        server: Any = credentials.get_default_host_creds(uri)  # type: ignore[no-untyped-call]
        version, probe = (
            ask(server, path, "GET", **once) for path in ("/version", experiment)
        )
    except MlflowException as err:
        what = f"The MLflow server does not answer: {innermost(err)}."
        raise TrackingError(what, looked_at=where, next_step=step) from err
    if version.ok and probe.status_code in (200, 404):
        return str(version.text.strip())
    what = f"This is no MLflow server: it says {version.status_code} to /version."
    if probe.status_code in (401, 403):
        what = f"The MLflow server refused us ({probe.status_code} {probe.reason})."
        step = (
            "Get a token (`casa-env doctor` shows yours), and see that token_hosts has "
            "the server's host; or set the variables by which MLflow itself logs in."
        )
    raise TrackingError(what, looked_at=where, next_step=step)


def _add_token(settings: Settings, request: PreparedRequest) -> PreparedRequest:
    """Add the token of the moment to a request whose host may have it.

    `requests` takes the header off again where a server redirects to another host.
    """
    if "Authorization" not in request.headers:
        token = token_value(request.url or "", settings)
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token}"
    return request


class Plugin:
    """What MLflow asks of us whenever a run starts, and with every request.

    MLflow 3.17 takes the authentication that ``MLFLOW_TRACKING_AUTH`` names. Ours
    becomes that variable's default when MLflow is imported: nothing needs to be set,
    the environment stays as it is, and a user's own choice wins. The alternative,
    ``MLFLOW_TRACKING_TOKEN``, goes to any server, and would have to be written anew.
    """

    #: The settings that `connect` was given; before that, those of this process hold.
    settings: ClassVar[Settings | None] = None

    def __init__(self) -> None:
        from mlflow.environment_variables import MLFLOW_TRACKING_AUTH

        if MLFLOW_TRACKING_AUTH.default is None:
            MLFLOW_TRACKING_AUTH.default = self.get_name()

    def get_name(self) -> str:
        """Return what ``MLFLOW_TRACKING_AUTH`` calls us."""
        return "casa-env"

    def get_auth(self) -> Any:  # noqa: ANN401 - any of requests' kinds
        """Return what adds the token; without listed hosts none, for ``~/.netrc``."""
        settings = self.settings or settings_here()
        return partial(_add_token, settings) if settings.token_hosts else None

    def in_context(self) -> bool:
        """Say that there are tags, wherever this is."""
        return True

    def tags(self) -> dict[str, str]:
        """Return what makes the run; MLflow logs what this raises, and goes on."""
        settings = self.settings or settings_here()
        here = context_tags(str(Path.cwd()), int(time.monotonic() / CONTEXT_S))
        site = {"casa.site": settings.site, "casa.site_name": settings.site_name}
        return {name: value for name, value in {**here, **site}.items() if value}


def _experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is made where it is missing."""
    from mlflow.exceptions import MlflowException

    folder = artifact_folder(client.tracking_uri)
    location = folder.as_uri() if folder else None
    if (found := client.get_experiment_by_name(name)) is None:
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:  # unless another process has made it since we looked
            if (found := client.get_experiment_by_name(name)) is None:
                raise
    return str(found.experiment_id)


def interruptible(run: ActiveRun) -> ActiveRun:
    """Return the run as one that ends as killed when it is interrupted.

    MLflow itself would leave it running, or call it failed. JupyterLab, batch systems
    and Kubernetes send a signal some seconds before they kill; by default that ends
    Python at once, but while the run lasts, it raises `SystemExit`.
    """
    import mlflow

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    class InterruptibleRun(mlflow.ActiveRun):
        restored: Sequence[signal.Signals] = ()

        def __enter__(self) -> Self:
            main = threading.current_thread() is threading.main_thread()
            self.restored = catch_endings(leave) if main else []
            return self

        def __exit__(self, kind: type[BaseException] | None, *error: object) -> bool:
            for number in self.restored:
                signal.signal(number, signal.SIG_DFL)
            if kind is not None and not issubclass(kind, Exception):
                _kill(run)
            return bool(super().__exit__(kind, *error))  # type: ignore[no-untyped-call]

    return InterruptibleRun(run)  # type: ignore[no-untyped-call]


def _kill(run: ActiveRun) -> None:
    """Mark a run as killed, and those below it that have not ended."""
    import mlflow

    client = mlflow.MlflowClient()
    below = f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    for trial in client.search_runs(
        [run.info.experiment_id], below, max_results=10_000
    ):
        if trial.info.status in ("RUNNING", "SCHEDULED"):
            client.set_terminated(trial.info.run_id, "KILLED")
    active = mlflow.active_run()
    if active is not None and active.info.run_id == run.info.run_id:
        mlflow.end_run("KILLED")


def run_info(run_id: str, settings: Settings | None = None) -> dict[str, Any]:
    """Return what a run was made of: its tags of ours, its record, models, metrics."""
    client = connect(settings or load_settings())
    step = "Look at the id, or set mlflow_uri to the store that it is in."
    with as_tracking_error(f"There is no run {run_id} here", client.tracking_uri, step):
        run = client.get_run(run_id)
        experiment = client.get_experiment(run.info.experiment_id).name
        record = [one.path for one in client.list_artifacts(run_id, RECORD)]
        models = _models(client, run_id)
    started = dt.datetime.fromtimestamp(run.info.start_time / 1000, dt.UTC)
    tags = {name: text for name, text in run.data.tags.items() if "casa." in name}
    return {
        "run": run_id,
        "name": run.info.run_name,
        "experiment": experiment,
        "status": run.info.status,
        "started": started.isoformat(timespec="seconds"),
        **{name.removeprefix("casa."): text for name, text in sorted(tags.items())},
        "record": [f"runs:/{run_id}/{path}" for path in record],
        "models": models,
        "metrics": dict(run.data.metrics),
    }


def _models(client: MlflowClient, run_id: str) -> list[str]:
    """Return the versions that were registered from a run: URI, aliases, SHA-256."""
    import mlflow

    found = []
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    for one in sorted(versions, key=lambda one: (one.name, int(one.version))):
        uri = f"models:/{one.name}/{one.version}"
        metadata = mlflow.models.get_model_info(uri).metadata or {}
        # Only a version asked for by itself comes with its aliases.
        aliases = client.get_model_version(one.name, one.version).aliases
        names = f" ({', '.join(aliases)})" if aliases else ""
        found.append(f"{uri}{names} sha256 {metadata.get('sha256', 'not recorded')}")
    return found
