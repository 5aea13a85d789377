"""Run a server on loopback only: bind, then become it (systemd's socket activation).

XRootD has no setting for the address to listen on; it takes over a socket that is
handed to it. Usage: ``python loopback.py PORT COMMAND...``
"""

from __future__ import annotations

import os
import socket
import sys

FIRST_HANDED_OVER = 3  # systemd's SD_LISTEN_FDS_START


def main() -> None:
    port, command = int(sys.argv[1]), sys.argv[2:]
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(128)
    if listening.fileno() != FIRST_HANDED_OVER:
        os.dup2(listening.fileno(), FIRST_HANDED_OVER)
    os.set_inheritable(FIRST_HANDED_OVER, True)  # noqa: FBT003 - os's own signature
    environ = os.environ | {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    os.execvpe(command[0], command, environ)  # noqa: S606 - no shell on purpose


if __name__ == "__main__":
    main()
