"""What runs on a scheduler that is not ours; travels as `worker_side` does."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["Watch"]


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
