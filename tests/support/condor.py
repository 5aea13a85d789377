"""A real HTCondor on loopback: Debian trixie's, in a system of its own.

It refuses to run jobs for root: it and whoever submits are an ordinary user, who may
read the files of this machine wherever they are, but not write them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.base_image import debian
from support.engine import NoEngineError
from support.installed import made_once
from support.processes import free_port, running
from support.programs import absent, needed, required_root

#: How long its daemons may take to start, in seconds.
PATIENCE_S = 120.0
USER_ID = 12345

CONFIGURATION = """\
RELEASE_DIR = /usr
LOCAL_DIR = {folder}
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
LOCK = $(LOCAL_DIR)/lock
RUN = $(LOCAL_DIR)
LIBEXEC = /usr/libexec/condor
CONDOR_HOST = 127.0.0.1
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
COLLECTOR_HOST = 127.0.0.1:{port}
SHARED_PORT_PORT = {port}
DAEMON_LIST = MASTER, COLLECTOR, NEGOTIATOR, SCHEDD, STARTD
UID_DOMAIN = casa
FILESYSTEM_DOMAIN = casa
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = *
ALLOW_NEGOTIATOR = *
ALLOW_ADMINISTRATOR = *
NUM_CPUS = 4
MEMORY = 8000
START = TRUE
use feature : PartitionableSlot
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_MIN_INTERVAL = 1
UPDATE_INTERVAL = 5
SINGULARITY =
DOCKER =
ENABLE_KERNEL_TUNING = False
STARTD_CRON_JOBLIST =
CGROUP_TRACKING = False
BASE_CGROUP =
"""

#: Runs a command in a system with some of this machine's folders, as that user.
ENTER = f"""\
set -eu
root=$1; shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
while [ "$1" != -- ]; do mkdir -p "$root$1"; mount --rbind "$1" "$root$1"; shift; done
shift
status=0
chroot "$root" setpriv --reuid={USER_ID} --regid={USER_ID} --clear-groups \
    --inh-caps=+dac_read_search --ambient-caps=+dac_read_search "$@" || status=$?
# Still root: a process of another user would outlive what it is to end with.
exit $status
"""


@dataclass(frozen=True)
class Condor:
    """A pool that is running."""

    command: tuple[str, ...]
    """What stands before a command of its user."""
    home: Path
    """Where that user may write."""

    def run(self, *words: str, timeout: float = PATIENCE_S, **environ: str) -> str:
        """Run a command as its user, with Casa's own Python; return what it prints."""
        done = subprocess.run(
            [*self.command, "env", *(f"{k}={v}" for k, v in environ.items()), *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={
                "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def jobs(self) -> list[str]:
        """Return the numbers of the jobs that wait or run."""
        query = "condor_q -allusers -constraint JobStatus<3 -af ClusterId"
        return self.run(*query.split()).split()


@contextmanager
def htcondor(folder: Path, repository: Path) -> Iterator[Condor]:
    """Run a pool while the block lasts."""
    required_root("let another user run jobs")
    needed("mmdebstrap", "unshare", "setpriv", packages="mmdebstrap util-linux")
    if Path(sys.base_prefix) == Path("/usr"):
        absent("the Python of this system would hide that of HTCondor's")
    system = _system(repository / ".cache" / "htcondor")
    for name in ("home", "log", "spool", "execute", "lock"):
        (folder / name).mkdir()
    configuration = folder / "condor_config"
    text = CONFIGURATION.format(folder=folder, port=free_port())
    configuration.write_text(text)
    for path in (folder, *folder.iterdir()):
        os.chown(path, USER_ID, USER_ID)
    shown = dict.fromkeys(map(str, (folder, repository, sys.prefix, sys.base_prefix)))
    variables = f"HOME={folder / 'home'}", "USER=casa", f"CONDOR_CONFIG={configuration}"
    mounts = ("--mount", "--propagation=private")
    enter = ("sh", "-c", ENTER, "enter", str(system), *shown, "--", "env", *variables)
    master = ["unshare", *mounts, "--pid", "--fork", "--kill-child", *enter]
    pool = Condor(("unshare", *mounts, *enter), folder / "home")
    log = folder / "master.out"
    with running([*master, "condor_master", "-f"], log=log):
        deadline = time.monotonic() + PATIENCE_S
        while "Unclaimed" not in pool.run("sh", "-c", "condor_status -af State || :"):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield pool


def _system(folder: Path) -> Path:
    """Return a Debian with HTCondor, which is made once: a minute, 310 MB."""
    user = f'echo casa:x:{USER_ID}:{USER_ID}::/:/bin/sh >> "$1/etc/passwd"'
    hooks = user, 'chmod 755 "$1/root"'
    with made_once(folder, repr(hooks)) as missing:
        if missing:
            shutil.rmtree(folder, ignore_errors=True)
            try:
                debian(folder, "ca-certificates", "python3", "condor", hooks=hooks)
            except NoEngineError as err:
                absent(f"no system with HTCondor: {err}")
    return folder
