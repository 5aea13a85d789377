"""A standalone Spark on loopback, whose master and workers share a secret."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.processes import free_port, running, wait_for


@dataclass(frozen=True)
class Standalone:
    """Where the master is, what opens it, and where the processes' logs are."""

    master: str
    folder: Path
    secret: str = field(repr=False)

    @property
    def environ(self) -> dict[str, str]:
        """What a user of it has in the environment."""
        return {
            "CASA_ENV_SPARK_MASTER": self.master,
            "_SPARK_AUTH_SECRET": self.secret,
        }


@contextlib.contextmanager
def standalone(python: Path, folder: Path, *, workers: int) -> Iterator[Standalone]:
    """Run a master and workers of one core each, of the pyspark beside a Python."""
    (home,) = python.parents[1].glob("lib/python3.*/site-packages/pyspark")
    secret = secrets.token_hex(16)
    options = "-Dspark.authenticate=true -Dspark.network.crypto.enabled=true"
    environ = {
        "_SPARK_AUTH_SECRET": secret,
        "SPARK_HOME": str(home),
        "SPARK_DAEMON_JAVA_OPTS": options,
        "SPARK_DAEMON_MEMORY": "256m",
    }
    start = [str(home / "bin" / "spark-class"), "org.apache.spark.deploy"]
    place = ["--host", "127.0.0.1", "--webui-port", "0", "--port"]
    port = free_port()
    found = Standalone(f"spark://127.0.0.1:{port}", folder, secret)
    with contextlib.ExitStack() as stack:

        def started(role: str, name: str, *words: str, until: str) -> None:
            log = folder / f"{name}.log"
            command = [start[0], f"{start[1]}.{role}", *place, *words]
            process = stack.enter_context(running(command, log=log, environ=environ))
            wait_for(process, until, log=log)

        started("master.Master", "master", str(port), until="New state: ALIVE")
        for number in range(workers):
            size = ["--cores", "1", "--memory", "1g", "--work-dir", str(folder)]
            words = ["0", *size, found.master]
            name = f"worker-{number}"
            started("worker.Worker", name, *words, until="registered with master")
        yield found


def logged(folder: Path) -> str:
    """Return what all of a folder's logs say."""
    files = [file for file in folder.rglob("*") if re.search(r"log|std", file.name)]
    return "\n".join(f.read_text(errors="replace") for f in files if f.is_file())
