"""Trials: the parts of a run that go on in parallel, each a run of its own below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from casa_env.errors import TrialKilledError
from casa_env.settings import Settings, load_settings
from casa_env.tracking_store import connect

if TYPE_CHECKING:
    from mlflow import ActiveRun

__all__ = ["Trial", "new_trial", "trial_run", "trial_was_killed"]


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

    Parameters
    ----------
    run
        The run that it belongs to.
    name
        The trial's name.
    parameters
        What distinguishes it from the others, logged as MLflow parameters.

    Returns
    -------
    Trial
        To be given to `trial_run`. Until then its status is ``SCHEDULED``.
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

    Parameters
    ----------
    trial
        As from `new_trial`.
    settings
        Settings to use, for the token; by default those of this place.

    Yields
    ------
    mlflow.ActiveRun
        MLflow's own run, active in this thread: ``mlflow.log_metric`` logs to it.

    Raises
    ------
    TrialKilledError
        If it was killed before or while it ran; it stays so.
    TrackingError
        If the store cannot be used.
    """
    import mlflow

    connect(settings or load_settings(), uri=trial.uri)
    _require_alive(trial)
    inside = mlflow.active_run() is not None
    with mlflow.start_run(run_id=trial.run_id, nested=inside) as run:
        try:
            yield run
            _require_alive(trial)
        except BaseException as err:
            if isinstance(err, TrialKilledError) or not isinstance(err, Exception):
                mlflow.end_run("KILLED")
            raise


def trial_was_killed(trial: Trial) -> bool:
    """Tell whether somebody has marked the trial as killed: then it should stop.

    What computes for long looks now and then, and raises `TrialKilledError`.

    Parameters
    ----------
    trial
        As from `new_trial`.
    """
    import mlflow

    status: str = mlflow.MlflowClient(trial.uri).get_run(trial.run_id).info.status
    return status == "KILLED"


def _require_alive(trial: Trial) -> None:
    if trial_was_killed(trial):
        what = f"The trial {trial.name} was marked as killed."
        step = "Nothing, if its run was interrupted; else start the run again."
        raise TrialKilledError(what, looked_at=f"run {trial.run_id}", next_step=step)
