"""Servers that tests start: ready when polled, and always stopped with their group."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that leads a group, and its group; reap it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


@contextlib.contextmanager
def running(
    command: Sequence[str], *, log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in its own process group while the block lasts."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | (environ or {}),
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill_group(process)


def wait_for(
    process: subprocess.Popen[bytes], text: str, *, log: Path, timeout: float = 60
) -> None:
    """Wait until a server has written something; fail with its log if it does not."""
    deadline = time.monotonic() + timeout
    while text not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            msg = f"no {text!r} from {process.args!r}:\n{log.read_text()}"
            raise TimeoutError(msg)
        time.sleep(0.05)


def wait_for_port(
    process: subprocess.Popen[bytes], port: int, *, log: Path, timeout: float = 60
) -> None:
    """Wait until a server listens on loopback; fail with its log if it does not."""
    deadline = time.monotonic() + timeout
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            msg = f"nobody listens on {port}:\n{log.read_text(errors='replace')}"
            raise TimeoutError(msg)
        time.sleep(0.05)


@contextlib.contextmanager
def dask_worker(
    folder: Path,
    address: str,
    *,
    name: str,
    python: str = sys.executable,
    environ: Mapping[str, str] | None = None,
    until: str = "Registered to:",
    options: Sequence[str] = ("--no-nanny",),
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run one more worker of a scheduler; give its process and its log.

    Parameters
    ----------
    folder
        Where its log and its files go.
    address
        The scheduler's.
    name
        What it is called.
    python
        The Python that it runs in.
    environ
        More variables for it.
    until
        What it has written once it is up.
    options
        More options of ``dask worker``.
    """
    log = folder / f"{name}.log"
    command = [python, "-m", "dask", "worker", address, "--name", name]
    command += ["--nthreads", "1", "--no-dashboard", *options]
    command += ["--local-directory", str(folder / f"{name}-files")]
    with running(command, log=log, environ=environ) as process:
        wait_for(process, until, log=log)
        yield process, log


@contextlib.contextmanager
def dask_scheduler(
    folder: Path, *, workers: int = 1, tls: Sequence[str] = ()
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a scheduler and workers as processes; give its address and its process.

    Parameters
    ----------
    folder
        Where logs and the workers' files go.
    workers
        How many workers to start, of one thread each.
    tls
        Options of ``dask scheduler`` and ``dask worker`` for TLS.
    """
    address = f"{'tls' if tls else 'tcp'}://127.0.0.1:{free_port()}"
    dask = [sys.executable, "-m", "dask"]
    places = ["--host", address, "--no-dashboard", *tls]
    log = folder / "scheduler.log"
    with contextlib.ExitStack() as stack:
        scheduler = stack.enter_context(running([*dask, "scheduler", *places], log=log))
        wait_for(scheduler, "Scheduler at:", log=log)
        for number in range(workers):
            log = folder / f"worker-{number}.log"
            command = [*dask, "worker", address, "--nthreads", "1", "--no-dashboard"]
            command += ["--no-nanny", "--local-directory", str(folder), *tls]
            worker = stack.enter_context(running(command, log=log))
            wait_for(worker, "Registered to:", log=log)
        yield address, scheduler
