"""A container engine: the one that runs here, or one started for the tests alone.

Where none answers and we are root, Debian's ``dockerd`` is started with a folder, a
socket and a network of its own. It leaves the machine's firewall, routing and other
engines alone, and when it is stopped nothing of it stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: How long an engine may take to start or to stop on a loaded machine, in seconds.
PATIENCE_S = 90.0


class NoEngineError(Exception):
    """No engine runs here, and none could be started; says why."""


@dataclass(frozen=True)
class Engine:
    """A container engine that answers."""

    docker: str
    """The command-line client."""

    environ: dict[str, str] = field(repr=False)
    """The environment variables of the client."""

    network: str
    """A network that this machine reaches containers on, and nobody else."""

    def command(self, *words: str, timeout: float = 600) -> str:
        """Run the client; return what it printed; fail with what it complained of."""
        done = self.attempt(*words, timeout=timeout)
        if done.returncode != 0:
            said = (done.stdout + done.stderr)[-6000:]
            msg = f"docker {' '.join(words)} gave {done.returncode}:\n{said}"
            raise AssertionError(msg)
        return done.stdout

    def attempt(
        self, *words: str, timeout: float = 600
    ) -> subprocess.CompletedProcess[str]:
        """Run the client and return how it ended."""
        return subprocess.run(
            [self.docker, *words],
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@contextlib.contextmanager
def engine() -> Iterator[Engine]:
    """Give an engine; stop it afterwards where it was started for this.

    Raises
    ------
    NoEngineError
        None runs here, and none could be started.
    """
    client = _client()
    if client and _answers(client, dict(os.environ)):
        environ = os.environ | {"DOCKER_BUILDKIT": "1"}
        # ... for an engine that was started without its usual network
        network = os.environ.get("DOCKER_TEST_NETWORK", "bridge")
        yield Engine(client, environ, network=network)
        return
    if os.geteuid() != 0:
        msg = "no engine answers, and only root can start one"
        raise NoEngineError(msg)
    for program in ("/usr/sbin/dockerd", "/usr/bin/docker"):
        if not Path(program).exists():
            msg = f"no engine answers, and {program} is missing: apt install docker.io"
            raise NoEngineError(msg)
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="casa-engine-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield stack.enter_context(_own_engine(folder))


def _client() -> str | None:
    """Return a client that can build with BuildKit, Docker's only builder today."""
    for name in ("docker", "/usr/bin/docker"):
        path = shutil.which(name)
        if path is None:
            continue
        done = subprocess.run(
            [path, "build", "--help"],
            env=os.environ | {"DOCKER_BUILDKIT": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if "--secret" in done.stdout:
            return path
    return None


def _answers(client: str, environ: dict[str, str]) -> bool:
    """Tell whether an engine answers."""
    done = subprocess.run(
        [client, "version"],
        env=environ,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.returncode == 0


@contextlib.contextmanager
def _own_engine(folder: Path) -> Iterator[Engine]:
    """Start an engine below a folder, with a network; stop and forget both."""
    socket = f"unix://{folder}/docker.sock"
    configuration = {
        "data-root": str(folder / "data"),
        "exec-root": str(folder / "exec"),
        "pidfile": str(folder / "docker.pid"),
        "hosts": [socket],
        "bridge": "none",
        "storage-driver": "overlay2",  # without it every layer would be a whole copy
        "iptables": False,
        "ip-forward": False,
        "ip-masq": False,
    }
    (folder / "daemon.json").write_text(json.dumps(configuration))
    (folder / "client").mkdir()
    environ = os.environ | {
        "DOCKER_BUILDKIT": "1",
        "DOCKER_CONFIG": str(folder / "client"),
        "DOCKER_HOST": socket,
    }
    groups = set(_cgroups())
    log = folder / "dockerd.log"
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            ["/usr/sbin/dockerd", "--config-file", str(folder / "daemon.json")],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _answers("/usr/bin/docker", environ):
            if daemon.poll() is not None or time.monotonic() > deadline:
                last = " | ".join(log.read_text(errors="replace").splitlines()[-3:])
                msg = f"dockerd did not start: {last}"
                raise NoEngineError(msg)
            time.sleep(0.2)
        name = f"casa{daemon.pid}"
        engine = Engine("/usr/bin/docker", environ, network=name)
        bridge = f"com.docker.network.bridge.name={name}"
        engine.command("network", "create", "--opt", bridge, name)
        yield engine
        _leave_nothing(engine)
    finally:
        _stop(daemon)
        _unmount(folder)
        for group in set(_cgroups()) - groups:
            with contextlib.suppress(OSError):
                group.rmdir()


def _leave_nothing(engine: Engine) -> None:
    """Remove the containers that a failed test left, and the network's bridge."""
    if left := engine.command("ps", "--all", "--quiet").split():
        engine.command("rm", "--force", *left)
    engine.command("network", "rm", engine.network)


def _stop(daemon: subprocess.Popen[bytes]) -> None:
    """Stop the daemon, which stops its containerd; kill its group if it does not."""
    daemon.terminate()
    try:
        daemon.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        os.killpg(daemon.pid, signal.SIGKILL)
        daemon.wait()


def _unmount(folder: Path) -> None:
    """Unmount what a daemon that was killed has left below its folder."""
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], check=False)


def _cgroups() -> list[Path]:
    """Return the control groups that an engine makes for its containers."""
    return [
        *Path("/sys/fs/cgroup").glob("docker"),
        *Path("/sys/fs/cgroup").glob("*/docker"),
    ]
