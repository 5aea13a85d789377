"""A real Slurm on loopback: munge, a controller and one node."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.processes import free_port, running
from support.programs import absent, needed

#: How long its daemons may take to start on a loaded machine, in seconds.
PATIENCE_S = 120.0

#: The node claims more cores than there may be, so that jobs never wait for one.
CONFIGURATION = """\
ClusterName=casa
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CryptoType=crypto/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
SlurmUser={user}
SlurmdUser={user}
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SchedulerParameters=sched_interval=1,batch_sched_delay=1
KillWait=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=32000 State=UNKNOWN
PartitionName=short Nodes={host} Default=YES MaxTime=01:00:00 State=UP
PartitionName=closed Nodes={host} MaxTime=01:00:00 State=DOWN
"""


@dataclass(frozen=True)
class Slurm:
    """A Slurm that is running."""

    environ: dict[str, str]
    """What its programs, and those who call them, need in their environment."""

    def ask(self, *command: str) -> str:
        """Run one of its programs; return what it prints."""
        return subprocess.run(
            command,
            env=os.environ | self.environ,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout

    def jobs(self) -> list[str]:
        """Return the numbers of the jobs that wait or run."""
        return self.ask("squeue", "--noheader", "--format=%i").split()

    def until_empty(self, timeout: float = 60.0) -> None:
        """Wait until no job waits or runs."""
        deadline = time.monotonic() + timeout
        while jobs := self.jobs():
            assert time.monotonic() < deadline, f"still there: {jobs}"
            time.sleep(0.2)


@contextmanager
def slurm(folder: Path) -> Iterator[Slurm]:
    """Run a Slurm while the block lasts."""
    programs = ("munged", "slurmctld", "slurmd", "sbatch")
    needed(*programs, packages="slurmctld slurmd slurm-client munge")
    if os.geteuid() != 0:
        absent("only root can start jobs as Slurm's node does")
    folder.chmod(0o755)  # munge refuses a socket that others could not reach
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(1024))
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    configuration = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    configuration.write_text(
        CONFIGURATION.format(
            host=host,
            folder=folder,
            user="root",
            controller=free_port(),
            node=free_port(),
        )
    )
    system = f"{os.environ['PATH']}:/usr/sbin"
    at = {name: shutil.which(name, path=system) or name for name in programs}
    munge = [at["munged"], "--foreground", "--force", f"--key-file={key}"]
    for option, file in (
        *(("socket", "munge.sock"), ("pid-file", "munged.pid")),
        *(("log-file", "munged.log"), ("seed-file", "munge.seed")),
    ):
        munge.append(f"--{option}={folder / file}")
    found = Slurm({"SLURM_CONF": str(configuration), "PATH": system})
    with ExitStack() as stack:
        for name, command in (
            ("munged", munge),
            ("slurmctld", [at["slurmctld"], "-D", "-f", str(configuration)]),
            ("slurmd", [at["slurmd"], "-D", "-f", str(configuration)]),
        ):
            log = folder / f"{name}.out"
            stack.enter_context(running(command, log=log, environ=found.environ))
            if name == "munged":
                _until((folder / "munge.sock").exists, folder)
        _until(lambda: "idle" in _states(found), folder)
        try:
            yield found
        finally:
            subprocess.run(
                ["scancel", "--user=root"],
                env=os.environ | found.environ,
                check=False,
                timeout=60,
            )
            found.until_empty()


def _states(found: Slurm) -> str:
    """Return the states of the node; nothing while the controller does not answer."""
    try:
        return found.ask("sinfo", "--noheader", "--format=%T", "--partition=short")
    except subprocess.CalledProcessError:
        return ""


def _until(true: object, folder: Path) -> None:
    """Wait until a function returns something true; fail with the daemons' logs."""
    assert callable(true)
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            logs = {log.name: log.read_text()[-2000:] for log in folder.glob("*.out")}
            msg = f"Slurm did not start: {logs}"
            raise TimeoutError(msg)
        time.sleep(0.1)
