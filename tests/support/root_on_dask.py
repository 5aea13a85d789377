"""RDataFrame on the workers of the Dask cluster that this place offers; in JSON.

Run as a program by the Python of the environment with ROOT: a folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

import casa_env
from agc.hists.rdataframe import run_rdataframe
from agc.ttbar.config import ttbar_config
from support.nanoaod import fileset_of, random_events, write_file
from support.notebook import NOTEBOOKS, analysis_code, run_code

CHANNELS = ("4j1b", "4j2b")


def main(folder: Path) -> None:
    """Run the notebook's graph in threads and on the cluster, and compare."""
    graph = run_code(analysis_code("agc-ttbar-rdataframe"))["ttbar_graph"]
    header = NOTEBOOKS / "agc" / "ttbar" / "rdataframe.h"
    file = write_file(folder / "f.root", random_events(2000))
    common = fileset_of({"ttbar__nominal": [file]}), graph, ttbar_config()
    here = run_rdataframe(*common, header=header).counts
    with casa_env.dask_client(workers=2) as client:
        client.wait_for_workers(2, timeout=120)
        there = run_rdataframe(*common, header=header, executor=client, chunksize=500)
        workers = client.run(lambda: [sys.executable, os.environ.get("SLURM_JOB_ID")])
    selected = {name: here[name].sum(flow=True).value for name in CHANNELS}
    same = {
        name: np.array_equal(*(h[name].view(flow=True) for h in (here, there.counts)))
        for name in CHANNELS
    }
    said = {"selected": selected, "same": same, "workers": workers}
    print(json.dumps(said))  # noqa: T201 - the program's answer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
