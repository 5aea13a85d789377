"""Workers that record a run each at once, on the server of the site's file; in JSON.

Run as a program: how many at once, and what they are called.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import mlflow
from mlflow.tracking import MlflowClient

from casa_env.settings import load_settings

STEPS = 20


def record(experiment: str, name: str) -> str:
    """Record one run, with a figure at each step; return its number."""
    client = MlflowClient()
    run = client.create_run(experiment, run_name=name)
    client.log_param(run.info.run_id, "name", name)
    for step in range(STEPS):
        client.log_metric(run.info.run_id, "loss", float(step), step=step)
    client.log_text(run.info.run_id, name, "name.txt")
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def main(count: int, called: str) -> None:
    """Record, then read again what was recorded."""
    mlflow.set_tracking_uri(load_settings().mlflow_uri)
    client = MlflowClient()
    found = client.get_experiment_by_name(called)
    experiment = found.experiment_id if found else client.create_experiment(called)
    with ThreadPoolExecutor(count) as pool:
        names = [f"{called}-{number}" for number in range(count)]
        runs = list(pool.map(lambda name: record(experiment, name), names))
    sys.stdout.write(f"{json.dumps(runs)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
