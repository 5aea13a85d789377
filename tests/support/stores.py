"""An object store on loopback that refuses wrong keys: rclone serves a folder as S3."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support.processes import free_port, running, wait_for_port

KEY, SECRET = "casakey", "casasecret"

#: How long the store remembers what is in a folder, in seconds. With 0, rclone 1.75
#: forgets folders at each access, until it locks itself up.
LISTED_S = 0.5


@dataclass(frozen=True)
class Store:
    """A store; each folder in its folder is a bucket."""

    folder: Path
    host: str

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}"

    def put(self, name: str, content: bytes) -> None:
        """Put a file into the folder, and wait until the store looks there again."""
        (self.folder / name).write_bytes(content)
        time.sleep(2 * LISTED_S)


@contextlib.contextmanager
def object_store(folder: Path, *buckets: str) -> Iterator[Store]:
    """Run a store while the block lasts."""
    content = folder / "content"
    for bucket in buckets:
        (content / bucket).mkdir(parents=True)
    port = free_port()
    command = [str(Path(sys.executable).with_name("rclone")), "serve", "s3"]
    command += ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}"]
    command += ["--vfs-cache-mode", "off", "--dir-cache-time", f"{LISTED_S}s"]
    command += ["--config", os.devnull]
    command += ["--cache-dir", str(folder / "cache"), str(content)]
    log = folder / "rclone.log"
    with running(command, log=log) as process:
        wait_for_port(process, port, log=log)
        yield Store(content, f"127.0.0.1:{port}")
