"""The check of Dask: a cluster computes something."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from casa_env.checks import Check, Status
from casa_env.errors import CasaEnvError
from casa_env.settings import Settings

__all__ = ["dask"]

#: How long a batch system or a Gateway may take to start one worker, in seconds. A
#: check is for seeing at once what is wrong; a full queue may take longer.
PATIENCE_S: Final = 60.0


def dask(settings: Settings) -> Check:
    """Let a cluster compute something: one of our own, or the site's.

    Parameters
    ----------
    settings
        Which; a batch system or a Gateway starts one worker for it.
    """
    from casa_env.workers.clusters import dask_client

    began = time.monotonic()
    backend = settings.dask_backend
    patience = min(settings.dask_wait_s, PATIENCE_S)
    one = replace(
        settings,
        dask_workers=1,
        dask_max_workers=0,
        dask_dashboard="",
        dask_wait_s=patience,
    )
    try:
        with dask_client(settings=one) as client:
            workers = len(client.scheduler_info(n_workers=-1)["workers"])
            if workers:
                client.submit(sum, [1, 2], pure=False).result(settings.timeout_s)
    except (CasaEnvError, OSError) as err:
        what = err.what if isinstance(err, CasaEnvError) else str(err) or repr(err)
        where = err.looked_at if isinstance(err, CasaEnvError) else ""
        step = err.next_step if isinstance(err, CasaEnvError) else ""
        evidence = f"{backend}: {what} {where}".strip()
        return Check(
            name="dask", status=Status.FAILED, evidence=evidence, next_step=step
        )
    took = f"{time.monotonic() - began:.1f} s"
    if backend == "local":
        evidence = _local(settings, took)
    elif backend == "join":
        where = f"{settings.shown('dask_address')} has {workers} worker(s)"
        if not workers:
            step = "Start workers, or wait for them: nothing is computed until then."
            return Check(
                name="dask", status=Status.WARNING, evidence=where, next_step=step
            )
        evidence = f"join: {where}; one computed in {took}"
    else:
        evidence = f"{backend}: a worker started, computed and stopped in {took}"
    return Check(name="dask", status=Status.OK, evidence=evidence)


def _local(settings: Settings, took: str) -> str:
    """Return what was found out about workers on this machine."""
    from casa_env.workers.local import size_here

    size = size_here(settings)
    kind = "process" if settings.dask_processes else "thread pool"
    return (
        f"local: a worker {kind} started, computed and stopped in {took}; "
        f"dask_client() starts {size.workers} with {size.threads} thread(s) and "
        f"{size.memory_bytes / 1e9:.1f} GB each"
    )
