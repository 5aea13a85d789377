"""What closing a client closes: a cluster started for it, or only what it brought."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["leave_as_found", "own"]

#: How long a joined scheduler may take to forget a plugin, in seconds.
FAREWELL_S: Final = 5.0


def own(
    client: Client,
    cluster: Any,  # noqa: ANN401 - any native cluster
    *,
    after: Callable[[], object] | None = None,
) -> Client:
    """Let closing a client close the cluster too, and return the client.

    Parameters
    ----------
    client
        A native client.
    cluster
        The cluster that was started for it.
    after
        Called when both are closed.

    Notes
    -----
    `distributed` does this for a `LocalCluster` that the client has started itself and
    for no other: this can go when it offers that for any cluster.
    """
    close_client = client._close  # noqa: SLF001 - the one place that all ways go through

    async def close_both(*arguments: Any, **options: Any) -> None:  # noqa: ANN401
        try:
            await close_client(*arguments, **options)
        finally:
            # SpecCluster's coroutine, or GatewayCluster's: their `close` waits for the
            # event loop, in which this runs.
            close = getattr(cluster, "_close", None) or cluster._stop_internal  # noqa: SLF001
            await close()
            if after is not None:
                after()

    client._close = close_both  # type: ignore[method-assign]  # noqa: SLF001
    return client


def leave_as_found(client: Client, plugins: Callable[[], Iterable[str]]) -> Client:
    """Let closing a client take its worker plugins along, and return the client.

    Parameters
    ----------
    client
        A client of a scheduler that is not ours, which others may use too.
    plugins
        Gives the names of the worker plugins that are there by then.
    """
    close_client = client._close  # noqa: SLF001 - as above

    async def close(*arguments: Any, **options: Any) -> None:  # noqa: ANN401
        comm = client.scheduler_comm
        if comm is not None and comm.comm is not None and not comm.comm.closed():
            for name in plugins():
                # It may be there no longer, or the scheduler may be gone.
                with contextlib.suppress(OSError, TimeoutError, ValueError):
                    farewell = client._unregister_worker_plugin(name)  # type: ignore[no-untyped-call]  # noqa: SLF001
                    await asyncio.wait_for(farewell, FAREWELL_S)
        await close_client(*arguments, **options)

    client._close = close  # type: ignore[method-assign]  # noqa: SLF001
    return client
