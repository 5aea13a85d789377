"""A Dask scheduler that is already there: joined, and left as it is."""

from __future__ import annotations

import asyncio
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from casa_env.comparison import shipped_to
from casa_env.errors import ClusterError, UnreachableError
from casa_env.network import tcp_problem
from casa_env.ownership import leave_as_found
from casa_env.settings import Settings
from casa_env.tls import site_security

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

__all__ = ["client", "cluster"]

logger = logging.getLogger(__name__)

#: Addresses that `distributed` connects to: a scheme is optional, a port is not.
_ADDRESS: Final = re.compile(
    r"(?:(?P<scheme>tcp|tls|ws|wss)://)?"
    r"(?P<host>\[[^\]]+\]|[^:/\s]+):(?P<port>\d{1,5})/?"
)


def cluster(settings: Settings, **_options: Any) -> LocalCluster:  # noqa: ANN401 - native
    """Raise: a scheduler that is joined was started by somebody else.

    Parameters
    ----------
    settings
        Where the scheduler is, and says who.
    **_options
        Options of a native cluster, for the form's sake.

    Raises
    ------
    ClusterError
        Always.
    """
    what = "There is no cluster to start: the scheduler is already there."
    raise ClusterError(
        what,
        looked_at=_where(settings),
        next_step="Join it with dask_client(), or start one of your own with "
        "dask_cluster(backend='local').",
    )


def client(settings: Settings, **options: Any) -> Client:  # noqa: ANN401 - native
    """Connect to a scheduler that is there, in a bounded time.

    Parameters
    ----------
    settings
        Where the scheduler is, and the certificates for ``tls://``.
    **options
        Options of `distributed.Client`; they win.

    Raises
    ------
    ClusterError
        If there is no address, it is not one, or certificates are missing.
    UnreachableError
        If the scheduler does not answer in time, or refuses us.
    """
    import distributed

    address = _ADDRESS.fullmatch(settings.dask_address)
    if address is None:
        what = "There is no scheduler to join: this is not a scheduler's address."
        step = "Set dask_address to tls://host:port or tcp://host:port."
        raise ClusterError(what, looked_at=_where(settings), next_step=step)
    if address["scheme"] in ("tls", "wss") and "security" not in options:
        options["security"] = site_security(settings)
    timeout = float(options.setdefault("timeout", settings.timeout_s))
    try:
        if not options.get("asynchronous"):
            _shake_hands(settings.dask_address, options.get("security"), timeout)
        joined = distributed.Client(settings.dask_address, **options)  # type: ignore[no-untyped-call]
    except OSError as err:
        host = address["host"].strip("[]")
        problem = tcp_problem(host, int(address["port"]), timeout=1.0)
        what = f"The Dask scheduler was not joined within {timeout:g} s."
        raise UnreachableError(
            what,
            looked_at=f"{_where(settings)}: {problem or _root_cause(err)}",
            next_step="Check that it runs, and its address and certificates; "
            "dask_client(backend='local') computes on this machine.",
        ) from err
    logger.info("joined the scheduler at %s", settings.dask_address)

    def plugins() -> list[str]:
        codes = [f"casa-env-code-{name}" for name in shipped_to(joined)]
        return ["casa-env-guard", "casa-env-voice", *codes]

    return leave_as_found(joined, plugins)


def _shake_hands(address: str, security: Any, timeout: float) -> None:  # noqa: ANN401
    """Connect and hang up, in a bounded time.

    The client's own time-out does not cover the handshake: a server that accepts the
    connection and says nothing, such as a forwarded port, would keep it forever
    (distributed 2026.8.0, ``comm/core.py``, ``connect``).
    """
    from distributed import Security
    from distributed.comm.core import connect

    security = security or Security()  # type: ignore[no-untyped-call]
    arguments = security.get_connection_args("client")

    async def shake_hands() -> None:
        attempt = connect(address, timeout=timeout, **arguments)  # type: ignore[no-untyped-call]
        comm = await asyncio.wait_for(attempt, timeout)
        comm.abort()

    # A thread of its own, because in a notebook an event loop runs in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, shake_hands()).result()


def _where(settings: Settings) -> str:
    """Return the scheduler's address and who says so."""
    return f"{settings.shown('dask_address')}, from {settings.origin('dask_address')}"


def _root_cause(err: BaseException) -> str:
    """Return the first cause that has something to say."""
    said = str(err)
    cause = err.__cause__
    while cause is not None:
        said = str(cause) or said
        cause = cause.__cause__
    return f"it accepts connections, but {said or 'does not answer'}"
