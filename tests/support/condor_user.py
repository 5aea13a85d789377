"""What somebody does on a machine that submits to HTCondor; says in JSON how it went.

Run as a program, as the pool's user.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from casa_env import dask_client
from casa_env.errors import ClusterError


def jobs() -> int:
    """Return how many jobs wait or run."""
    query = ["condor_q", "-constraint", "JobStatus<3", "-af", "ClusterId"]
    return len(subprocess.check_output(query, text=True).split())


def refused(**settings: str) -> dict[str, Any]:
    """Return the error that some settings lead to, and the jobs left."""
    names = {f"CASA_ENV_{name}": value for name, value in settings.items()}
    os.environ |= names
    try:
        dask_client().close()
    except ClusterError as error:
        return {"kind": error.kind, "text": str(error), "jobs": jobs()}
    finally:
        for name in names:
            del os.environ[name]
    return {}


def main() -> None:
    """Use a cluster, then ask for what there is not."""
    said: dict[str, Any] = {}
    with dask_client(workers=2) as client:
        # Not imported above: dask_jobqueue makes Ctrl-C end the process.
        stock = sys.modules["dask_jobqueue"].HTCondorCluster
        said["stock"] = type(client.cluster) is stock
        said["address"] = client.scheduler.address
        client.wait_for_workers(2, timeout=120)
        said["sum"] = client.submit(sum, [1, 2]).result(timeout=60)
        slots = client.run(lambda: os.environ.get("_CONDOR_SLOT"))
        said["slots"] = sorted(slots.values())
        said["jobs"] = jobs()
    said["after"] = jobs()
    said["idle"] = refused(DASK_JOB_DIRECTIVES="requirements = False", DASK_WAIT_S="5")
    said["queue"] = refused(DASK_QUEUE="short")
    print(json.dumps(said))  # noqa: T201 - the program's answer


if __name__ == "__main__":
    main()
