"""Record a run in MLflow, with all that is needed to make its result again."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from casa_env.errors import TrackingError
from casa_env.settings import Settings, load_settings
from casa_env.settings.table import shown
from casa_env.tracking_store import artifact_folder, connect, is_server

if TYPE_CHECKING:
    from mlflow import ActiveRun, MlflowClient

__all__ = ["RECORD", "mlflow_run", "resumed_run"]

#: The folder of a run's artefacts that says where it comes from.
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
    experiment
        The experiment's name; it is made where it is missing.
    name
        The run's name; by default MLflow invents one.
    fileset
        What is analysed, in coffea's shape: its digest and its files are recorded.
    tags
        More tags.
    settings
        Settings to use; by default those of this place.

    Returns
    -------
    mlflow.ActiveRun
        MLflow's own run, for ``with``; ``mlflow.log_metric`` and all the others log to
        it. A run that is interrupted (Ctrl-C, SIGTERM, a cancelled task) ends as
        ``KILLED``, and its unfinished trials too.

    Raises
    ------
    TrackingError
        If the store cannot be used; within ``timeout_s`` where it is a server.
    SettingsError
        If the settings themselves are wrong.
    MissingPackageError
        If MLflow is not installed.

    Notes
    -----
    Tags: ``casa.environment_id``, ``casa.python``, ``casa.version``, ``casa.site``,
    ``casa.git_commit``, ``casa.git_dirty``, ``casa.fileset_sha256``. Artefacts below
    ``casa/``: every package, the lock, the settings with their sources, the fileset.
    """
    import mlflow

    settings = settings or load_settings()
    client = connect(settings)
    try:
        run = mlflow.start_run(
            experiment_id=_experiment_id(client, experiment),
            run_name=name or None,
            tags={**_tags(settings, fileset), **(tags or {})},
        )
        with tempfile.TemporaryDirectory(prefix="casa-record-") as folder:
            _write_record(Path(folder), settings, fileset)
            mlflow.log_artifacts(folder, RECORD)
    except mlflow.MlflowException as err:
        raise _failed(str(err), mlflow.get_tracking_uri()) from err
    return _interruptible(run)


def resumed_run(run_id: str, *, settings: Settings | None = None) -> ActiveRun:
    """Go on with a run, to add to it.

    Parameters
    ----------
    run_id
        Its id, as ``run.info.run_id``.
    settings
        Settings to use; by default those of this place.

    Returns
    -------
    mlflow.ActiveRun
        As from `mlflow_run`.

    Raises
    ------
    TrackingError
        If there is no such run, or the store cannot be used.
    """
    import mlflow

    connect(settings or load_settings())
    try:
        return _interruptible(mlflow.start_run(run_id=run_id))
    except mlflow.MlflowException as err:
        raise _failed(str(err), mlflow.get_tracking_uri()) from err


def _failed(reason: str, uri: str) -> TrackingError:
    what = f"MLflow did not take the run: {reason.splitlines()[0]}"
    kind = "server" if is_server(uri) else "database"
    step = f"`casa-env doctor` checks the {kind}."
    return TrackingError(what, looked_at=shown(uri), next_step=step)


def _experiment_id(client: MlflowClient, name: str) -> str:
    """Return the id of an experiment, which is made where it is missing."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        folder = artifact_folder(client.tracking_uri)
        location = folder.as_uri() if folder is not None else None
        try:
            created: str = client.create_experiment(name, artifact_location=location)
        except MlflowException:  # made by another process since we looked
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
        else:
            return created
    identifier: str = found.experiment_id
    return identifier


def _tags(settings: Settings, fileset: Mapping[str, Any] | None) -> dict[str, str]:
    from casa_env.workers.sameness import environment_here
    from casa_env.provenance import fileset_digest, git_state

    environment = environment_here()
    git = git_state(Path.cwd())
    tags = {
        "casa.environment_id": environment.id,
        "casa.python": environment.python,
        "casa.version": environment.casa_env,
        "casa.site": settings.site,
        "casa.site_name": settings.site_name,
        "casa.git_commit": git.commit,
        "casa.git_dirty": str(git.dirty).lower() if git.commit else "",
    }
    if fileset is not None:
        tags["casa.fileset_sha256"] = fileset_digest(fileset)
    return {name: value for name, value in tags.items() if value}


def _write_record(
    folder: Path, settings: Settings, fileset: Mapping[str, Any] | None
) -> None:
    from casa_env.workers.sameness import environment_here
    from casa_env.provenance import fileset_contents, lock_file
    from casa_env.settings.table import declarations

    environment = environment_here()
    pinned = (f"{name}=={version}\n" for name, version in environment.packages)
    (folder / "packages.txt").write_text("".join(pinned))
    lock = lock_file()
    if lock is not None:
        (folder / lock.name).write_bytes(lock.read_bytes())
    values = {
        name: {"value": settings.shown(name), "source": settings.origin(name)}
        for name in declarations()
    }
    (folder / "settings.json").write_text(json.dumps(values, indent=1))
    if fileset is not None:
        contents = fileset_contents(fileset)
        (folder / "fileset.json").write_text(json.dumps(contents, indent=1))


def _interruptible(run: ActiveRun) -> ActiveRun:
    """Return the run as one that ends as killed when it is interrupted."""
    import mlflow

    # MLflow ships types, but not for the run's own methods.
    class InterruptibleRun(mlflow.ActiveRun):
        """MLflow's run; MLflow itself would leave it running, or call it failed."""

        def __enter__(self) -> Self:
            self._restored = _exit_on_sigterm()
            return self

        def __exit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            traceback: TracebackType | None,
        ) -> bool:
            if self._restored is not None:
                signal.signal(signal.SIGTERM, self._restored)
            if kind is not None and not issubclass(kind, Exception):
                _kill(self.info.run_id)
            ended: bool = super().__exit__(kind, error, traceback)  # type: ignore[no-untyped-call]
            return ended

    return InterruptibleRun(run)  # type: ignore[no-untyped-call]


def _exit_on_sigterm() -> Any:  # noqa: ANN401 - what signal.signal returns
    """Let SIGTERM end this process in order; return the handler there was.

    JupyterLab, a batch system and Kubernetes send it some seconds before they kill. By
    default it ends Python at once, and the run would look as if it went on for ever.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None

    def leave(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    return signal.signal(signal.SIGTERM, leave)


def _kill(run_id: str) -> None:
    """Mark a run as killed, and its trials that have not ended."""
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_run(run_id).info.experiment_id
    trials = client.search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=10_000
    )
    for trial in trials:
        if trial.info.status in ("RUNNING", "SCHEDULED"):
            client.set_terminated(trial.info.run_id, "KILLED")
    active = mlflow.active_run()
    if active is not None and active.info.run_id == run_id:
        mlflow.end_run("KILLED")
