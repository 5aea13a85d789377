"""Search hyper-parameters in parallel, every trial recorded as a run of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from agc.served.runs import Trial, new_trial, require_alive, trial_run
from agc.ttbar.ml.training import Hyperparameters, Quality, Training, assess, train
from agc.ttbar.ml.training_data import TrainingData

if TYPE_CHECKING:
    import mlflow
    from distributed import Client

__all__ = ["Result", "best", "search"]

#: How often a training looks whether it was killed meanwhile, in seconds.
LOOK_S = 2.0


class Result(NamedTuple):
    """What came of a trial."""

    trial: Trial
    training: Training
    quality: Quality


def search(
    client: Client,
    run: mlflow.ActiveRun,
    data: TrainingData,
    hyperparameters: Sequence[Hyperparameters],
) -> list[Result]:
    """Train with each of several hyper-parameters, on the workers of a cluster.

    The trials are MLflow's runs below ``run``, the data go to the workers once, and the
    results are in the order of ``hyperparameters``, whatever the cluster.

    Notes
    -----
    Whoever interrupts this (Ctrl-C) cancels what has not begun; `casa_env.mlflow_run`
    marks the trials as killed, and what still computes sees that and stops.
    """
    from distributed import as_completed
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    trials = [
        new_trial(run, f"trial-{number}", asdict(one))
        for number, one in enumerate(hyperparameters)
    ]
    (shared,) = client.scatter([data], broadcast=True)  # type: ignore[no-untyped-call]
    futures = [
        client.submit(try_out, trial, shared, one, pure=False)
        for trial, one in zip(trials, hyperparameters, strict=True)
    ]
    place = {future.key: number for number, future in enumerate(futures)}
    results: dict[int, Result] = {}
    try:
        with tqdm(total=len(futures), desc="Trials", unit="trial") as bar:
            done = as_completed(futures, with_results=True)  # type: ignore[no-untyped-call]
            for future, result in done:
                results[place[future.key]] = result
                found = best(list(results.values()))
                bar.set_postfix_str(f"best log loss {found.quality.log_loss:.4f}")
                bar.update()
    except BaseException:
        client.cancel(futures)  # type: ignore[no-untyped-call]
        raise
    return [results[number] for number in range(len(futures))]


def try_out(
    trial: Trial, data: TrainingData, hyperparameters: Hyperparameters
) -> Result:
    """Train once and record it; runs on a worker.

    A trial that is killed meanwhile ends in a `TrackingError` of the kind ``killed``.
    """
    import mlflow
    from mlflow.entities import Metric

    looked = time.monotonic()

    def look(name: str, number: int, loss: float) -> None:
        nonlocal looked
        del name, number, loss
        if time.monotonic() - looked > LOOK_S:
            looked = time.monotonic()
            require_alive(trial)

    with trial_run(trial) as run:
        training = train(data, hyperparameters, after_round=look)
        result = Result(trial, training, assess(data, training.models))
        now = time.time_ns() // 1_000_000
        progress = [
            Metric(f"log_loss.{name}", loss, now, number)
            for name, losses in training.losses.items()
            for number, loss in enumerate(losses)
        ]
        final = [Metric(k, v, now, 0) for k, v in asdict(result.quality).items()]
        # In one request: a metric at a time takes longer than the training.
        mlflow.MlflowClient().log_batch(run.info.run_id, metrics=progress + final)
    return result


def best(results: Sequence[Result]) -> Result:
    """Return the result with the smallest loss; of equal ones the first."""
    return min(results, key=lambda result: result.quality.log_loss)
