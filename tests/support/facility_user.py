"""What somebody does in the facility's lab: the analysis on its workers; in JSON.

Run as a program in the lab's pod: where the histograms go, the URL of the folder with
the inputs on the origin, and the datasets. It names no service of the facility: the
site's file does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import mlflow
from coffea.processor import DaskExecutor

from agc.hists.io import save_histograms
from agc.inputs.filesets import Fileset, ttbar_fileset
from agc.ttbar.runs import run_ttbar
from casa_env import dask_client, mlflow_run, ship, xcache_fileset
from casa_env.errors import CasaEnvError

#: Events of a task, so few that there are tasks to be in the middle of.
CHUNK_SIZE = 4_000


def at_origin(origin: str, datasets: list[str]) -> Fileset:
    """Return the shipped sample as it is on the origin."""
    fileset = ttbar_fileset(0)
    found: Fileset = {}
    for name in datasets:
        dataset = fileset[name]
        for key in ("files", "nevts", "entries"):
            if key in dataset:
                there = {f"{origin}/{Path(p).name}": x for p, x in dataset[key].items()}  # type: ignore[literal-required] # by name
                dataset[key] = there  # type: ignore[literal-required] # by name
        found[name] = dataset
    return found


def main(file: Path, origin: str, datasets: list[str]) -> str:
    """Fill the histograms, and record them; return what there is to say."""
    fileset = xcache_fileset(at_origin(origin, datasets), failover=True)
    with mlflow_run("facility") as run, dask_client() as client:
        client.wait_for_workers(1, timeout=120)
        ship(client, "agc")
        sys.stdout.write("started\n")
        sys.stdout.flush()
        executor = DaskExecutor(client=client, status=False)
        result = run_ttbar(fileset, executor, chunksize=CHUNK_SIZE)
        save_histograms(result.histograms, file)
        mlflow.log_artifact(str(file))
    first = next(iter(fileset[datasets[0]]["files"]))
    return json.dumps({"run": run.info.run_id, "read": str(first)})


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])}\n")
    except CasaEnvError as err:
        sys.exit(f"clear: {err}")
