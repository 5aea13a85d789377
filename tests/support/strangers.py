"""What the users of a machine see of a page that listens on loopback."""

from __future__ import annotations

import subprocess
import sys

NOBODY = 65534

#: Asks a port in ways that could be taken for another user's, and prints the statuses.
ASK = """
import os, psutil, socket, sys
uid, port = map(int, sys.argv[1:])
addresses = [one.address for ones in psutil.net_if_addrs().values() for one in ones
             if one.family == socket.AF_INET]
os.setgroups([]), os.setgid(uid), os.setuid(uid)
def ask(family, host, source=""):
    with socket.socket(family) as asking:
        asking.settimeout(60)
        asking.bind((source, 0))
        try:
            asking.connect((host, port))
            asking.sendall(b"GET /health HTTP/1.0\\r\\n\\r\\n")
            print(*asking.recv(99).decode().split()[1:2])
        except ConnectionError:
            print()
ask(socket.AF_INET6, "::ffff:127.0.0.1")
for address in {"127.0.0.1", "127.0.0.2", *addresses}:
    ask(socket.AF_INET, "127.0.0.1", source=address)
"""


def answers(uid: int, port: int) -> set[str]:
    """Return the statuses that a user gets, empty for no answer."""
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(uid), str(port)],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(done.stdout.splitlines())
