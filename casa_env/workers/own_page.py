"""The page of a scheduler on this machine: a dashboard without a login, for its user.

Whoever can open it sees what is computed, and where; on loopback that is every user of
the machine. Linux says whose a connection is (proc_pid_net(5), ``/proc/net/tcp``), so
others are turned away as they connect. Elsewhere, such as on macOS, all of the
machine's users are answered still.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import struct
from pathlib import Path
from typing import Any, Final

from casa_env.network import is_loopback

logger = logging.getLogger(__name__)

#: A line for each connection of this machine.
TABLES: Final = tuple(Path("/proc/net", name) for name in ("tcp", "tcp6"))


def scheduler_extensions() -> dict[str, Any]:
    """Return Dask's extensions of a scheduler, and ours: it keeps others out.

    Extensions are made within the scheduler's constructor, so before the event loop
    accepts the first connection; a preload runs when some have been answered already.
    """
    import dask
    from distributed.scheduler import DEFAULT_EXTENSIONS

    extensions = {**DEFAULT_EXTENSIONS, "own-page": keep_others_out}
    if not dask.config.get("distributed.scheduler.work-stealing"):
        del extensions["stealing"]  # as distributed 2026.8.0 does, unless it is given
    return extensions


def keep_others_out(scheduler: Any) -> None:  # noqa: ANN401 - untyped in distributed
    """Answer on loopback only this user's processes and root's.

    An address beyond loopback is one that the user asked for, and stays open.
    """
    server = scheduler.http_server
    if not (is_loopback(server.address) and TABLES[0].exists()):
        return
    answer = server.handle_stream

    def answer_ours(stream: Any, peer: tuple[Any, ...]) -> None:  # noqa: ANN401
        here = stream.socket.getsockname()
        # Not whether the peer's is: it may call from any address of this machine.
        uid = owner(peer, here) if is_loopback(here[0]) else os.geteuid()
        if uid in {0, os.geteuid()}:
            answer(stream, peer)
        else:
            logger.info("port %s was closed to uid %s", here[1], uid)
            stream.close()

    server.handle_stream = answer_ours


def owner(local: tuple[Any, ...], remote: tuple[Any, ...]) -> int | None:
    """Return the uid that has the end of a connection at ``local``, if one has.

    What was closed at that end has no inode, and root's uid whoever had it.
    """
    for table in filter(Path.exists, TABLES):
        ends = [_hexadecimal(end[0], end[1], table.name) for end in (local, remote)]
        for line in table.read_text().splitlines():
            words = line.split()
            if words[1:3] == ends and words[9] != "0":
                return int(words[7])
    return None


def _hexadecimal(host: str, port: int, table: str) -> str:
    """Write an end as a table does: words of 32 bits in the machine's byte order."""
    host = host.removeprefix("::ffff:")
    if table == "tcp6" and ":" not in host:
        host = f"::ffff:{host}"
    packed = ipaddress.ip_address(host).packed
    words = struct.unpack(f"={len(packed) // 4}I", packed)
    return "".join(f"{word:08X}" for word in words) + f":{port:04X}"
