"""Cancel a session's jobs when the process that submitted them is gone.

This file is run as a program of its own, by `casa_env.batch_jobs`. It hears of each
job on its standard input, which ends when the notebook's kernel ends, however that
dies; no signal to the kernel reaches it. It needs the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys

__all__ = ["main"]

#: How long a batch system may take to cancel a job, in seconds.
CANCEL_S = 60.0


def main(arguments: list[str]) -> int:
    """Follow the jobs, then cancel those that are left.

    Parameters
    ----------
    arguments
        The files and folders to remove in the end, ``--``, and the command that
        cancels a job, without its number.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    split = arguments.index("--")
    folders, command = arguments[:split], arguments[split + 1 :]
    jobs: set[str] = set()
    for line in sys.stdin:
        sign, job = line[0], line[1:].strip()
        if sign == "+":
            jobs.add(job)
        elif sign == "-":
            jobs.discard(job)
        else:
            folders.append(job)
    for job in sorted(jobs):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(  # noqa: S603 - the batch system's own command
                [*command, job], check=False, timeout=CANCEL_S, capture_output=True
            )
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.unlink(folder)  # noqa: PTH108 - pathlib would be most of the start
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
