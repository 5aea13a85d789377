"""Runs that go on: a run that is added to, and its trials, each a run below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casa_env.errors import TrackingError
from casa_env.models.mlflow import as_tracking_error, connect, interruptible
from casa_env.settings import Settings, load_settings
from casa_env.tokens.bearer import settings_here

if TYPE_CHECKING:
    from mlflow import ActiveRun

__all__ = ["Trial", "new_trial", "require_alive", "resumed_run", "trial_run"]


def resumed_run(run_id: str, *, settings: Settings | None = None) -> ActiveRun:
    """Go on with the run of an id (``run.info.run_id``), to add to it.

    Raises
    ------
    TrackingError
        There is no such run, or the store cannot be used.
    """
    client = connect(settings or load_settings())
    import mlflow

    with as_tracking_error("MLflow did not take the run", client.tracking_uri):
        return interruptible(mlflow.start_run(run_id=run_id))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Where a trial is recorded; small enough to go to a worker with its task."""

    uri: str
    """The tracking URI of the run that it belongs to."""

    run_id: str
    """Its own run."""

    name: str
    """Its name, for people."""


def new_trial(
    run: ActiveRun, name: str, parameters: Mapping[str, object] | None = None
) -> Trial:
    """Make a trial of a run, before its task is sent anywhere.

    The client makes it, not the worker: a task that a lost worker's successor does
    again goes on in the same trial, and what is interrupted before it began is known.
    Until it is given to `trial_run`, its status is ``SCHEDULED``. The parameters,
    logged as MLflow's, distinguish it from the others.
    """
    import mlflow
    from mlflow.entities import Param

    client = mlflow.MlflowClient()
    tags = {"mlflow.parentRunId": run.info.run_id}
    if user := run.data.tags.get("mlflow.user"):
        tags["mlflow.user"] = user
    made = client.create_run(run.info.experiment_id, tags=tags, run_name=name)
    params = [Param(key, str(value)) for key, value in (parameters or {}).items()]
    client.log_batch(made.info.run_id, params=params)
    client.update_run(made.info.run_id, status="SCHEDULED")
    return Trial(uri=mlflow.get_tracking_uri(), run_id=made.info.run_id, name=name)


@contextmanager
def trial_run(trial: Trial, *, settings: Settings | None = None) -> Iterator[ActiveRun]:
    """Record a trial while the block lasts, in a Dask worker or anywhere else.

    The block gets MLflow's own run, active in this thread: ``mlflow.log_metric`` logs
    to it. The default settings are this process's, with what it was delivered.

    Raises
    ------
    TrackingError
        The store cannot be used; of the kind ``killed`` if the trial was killed before
        or while it ran: it stays so.
    """
    connect(settings or settings_here(), uri=trial.uri)
    import mlflow

    require_alive(trial)
    inside = mlflow.active_run() is not None
    with mlflow.start_run(run_id=trial.run_id, nested=inside) as run:
        try:
            yield run
            require_alive(trial)
        except BaseException as err:
            if getattr(err, "kind", "") == "killed" or not isinstance(err, Exception):
                mlflow.end_run("KILLED")
            raise


def require_alive(trial: Trial) -> None:
    """Raise `TrackingError` of the kind ``killed`` if somebody has killed a trial.

    What computes for long asks.
    """
    import mlflow

    status: str = mlflow.MlflowClient(trial.uri).get_run(trial.run_id).info.status
    if status == "KILLED":
        what = f"The trial {trial.name} was marked as killed."
        step = "Nothing, if its run was interrupted; else start the run again."
        where = f"run {trial.run_id}"
        raise TrackingError(what, looked_at=where, next_step=step, kind="killed")
