"""What runs on a scheduler that is not ours; travels as `worker_side` does."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

__all__ = ["Depot", "Watch"]


class Depot:
    """Take code in, for the scheduler itself, and give it to every worker.

    A scheduler reads what a client sends, so that it must import the same code
    (distributed 2026.8.0, ``Scheduler.update_graph``).
    """

    def __init__(self, *, payload: bytes) -> None:
        self.payload = payload

    async def start(self, scheduler: Any) -> None:  # noqa: ANN401 - distributed's
        """Do so; raise what the first worker raised that could not import it."""
        from distributed.core import clean_exception

        code = pickle.loads(self.payload)  # noqa: S301 - from our client
        code.bring(Path(scheduler.local_directory))
        before = scheduler.worker_plugins.get(code.name)
        answers = await scheduler.register_worker_plugin(
            None, plugin=self.payload, name=code.name, idempotent=False
        )
        for answer in answers.values():
            if answer["status"] == "error":
                if before is None:
                    scheduler.worker_plugins.pop(code.name, None)
                else:
                    scheduler.worker_plugins[code.name] = before
                _, error, _ = clean_exception(**answer)
                raise error or RuntimeError(code.name)


class Watch:
    """Close a scheduler whose owner has gone without closing it.

    A kernel that dies closes nothing. Its cluster would go on, with its workers, until
    an administrator's limit, which Dask Gateway has not by default.
    """

    def __init__(self, *, owner: str, absence_s: float) -> None:
        self.owner = owner
        self.absence_s = absence_s
        self.tasks: set[Any] = set()

    def remove_client(self, scheduler: Any, client: str) -> None:  # noqa: ANN401
        """Wait a while where the owner leaves: it may only have lost its connection."""
        if client == self.owner:
            task = asyncio.ensure_future(self._close(scheduler))
            self.tasks.add(task)

    async def _close(self, scheduler: Any) -> None:  # noqa: ANN401 - distributed's
        """Close the scheduler, and with it its workers, unless the owner is back."""
        await asyncio.sleep(self.absence_s)
        if self.owner not in scheduler.clients:
            await scheduler.close(reason="casa-env-owner-gone")
