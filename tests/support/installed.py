"""What tests install once for all of them, by one process at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from support.programs import absent

#: How long packages may take to come and to be installed, in seconds.
PATIENCE_S = 600.0


@contextmanager
def made_once(place: Path, made_from: str) -> Iterator[bool]:
    """Give whether a place is still to be made from this; meanwhile others wait."""
    stamp = place.with_name(f"{place.name}.made-from")
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.busy").open("w") as busy:
        fcntl.flock(busy, fcntl.LOCK_EX)
        made = place.exists() and stamp.exists() and stamp.read_text() == made_from
        yield not made
        stamp.write_text(made_from)


def locked_environment(
    lock: Path, folder: Path, *, what: str, then: Callable[[], None] = lambda: None
) -> Path:
    """Return an environment of what a lock pins; without it, see `absent`."""
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    with made_once(folder, digest) as missing:
        if missing:
            _install(lock, folder, what)
            then()
    return folder


def _install(lock: Path, folder: Path, what: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    # The tests' HOME is empty: packages come from where they were downloaded to.
    home = {"HOME": pwd.getpwuid(os.getuid()).pw_dir}
    python = ("--no-python-downloads", "--python", sys.executable)
    sync = ("pip", "sync", "--compile-bytecode", "--require-hashes", "--no-build")
    for words in (
        ("venv", "--clear", *python, folder),
        (*sync, "--python", folder / "bin" / "python", lock),
    ):
        done = subprocess.run(
            [uv, "--quiet", *words],
            capture_output=True,
            text=True,
            env=os.environ | home,
            check=False,
            timeout=PATIENCE_S,
        )
        if done.returncode:
            absent(f"{what} cannot be installed: {done.stderr}")
