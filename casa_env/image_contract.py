"""The contract's checks of the image itself: any uid can use it, its pins are one."""

from __future__ import annotations

import getpass
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from casa_env.checks import Check, Status
from casa_env.settings.places import can_write

__all__ = ["differing", "pins", "uid"]

#: How many differing packages are named.
MOST_NAMED: Final = 8


def uid(environ: Mapping[str, str]) -> Check:
    """Check that whoever a facility runs the image as has a home and a name.

    Parameters
    ----------
    environ
        The environment variables there are.

    Notes
    -----
    Kubernetes and OpenShift may run an image as any uid, in group 0 ("Guidelines for
    creating images", OpenShift): so what has to be written belongs to group 0.
    """
    home = Path(environ.get("HOME") or "/")
    who = f"uid {os.getuid()}, gid {os.getgid()}, home {home}"
    problems = []
    if home == Path("/") or not home.is_dir():
        problems.append(f"HOME is {home}, which is no home")
    else:
        if not can_write(home):
            problems.append(f"{home} cannot be written")
        status = home.stat()
        # What is mounted belongs to its user; what is in the image is for anybody.
        if not os.path.ismount(home) and not _group_0_writes(status):
            mode = stat.filemode(status.st_mode)
            problems.append(f"{home} is {mode}, group {status.st_gid}: group 0 cannot")
    try:
        getpass.getuser()
    except (KeyError, OSError):
        problems.append("this uid has no name: neither USER nor /etc/passwd has one")
    if not problems:
        return Check(name="uid", status=Status.OK, evidence=f"{who}: can be written")
    return Check(
        name="uid",
        status=Status.FAILED,
        evidence=f"{who}: {'; '.join(problems)}",
        next_step="In the image: HOME and USER as variables, the home in group 0 and "
        "as open to it as to its user (chmod g=u).",
    )


def _group_0_writes(status: os.stat_result) -> bool:
    """Tell whether members of group 0 can make files in a folder."""
    return status.st_gid == 0 and (status.st_mode & stat.S_IRWXG) == stat.S_IRWXG


def pins(peer: Path | None) -> Check:
    """Compare what is installed here with the other image, notebook or worker.

    Parameters
    ----------
    peer
        What ``casa-env info --json`` printed there; ``None`` where it is not at hand.
    """
    from casa_env.workers.sameness import environment_here

    if peer is None:
        return Check(
            name="pins",
            status=Status.OFF,
            evidence="there is no other image to compare with",
            next_step="Give what `casa-env info --json` prints there with --peer.",
        )
    try:
        there = json.loads(peer.read_text())
        python, packages = str(there["python"]), dict(there["packages"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        return Check(
            name="pins",
            status=Status.FAILED,
            evidence=f"{peer} is not what `casa-env info --json` prints: {err}",
            next_step="Make it anew in the other image.",
        )
    here = environment_here()
    rows = differing(dict(here.packages), packages)
    if python != here.python:
        rows.insert(0, f"Python {here.python} here, {python} there")
    if not rows:
        common = len(set(dict(here.packages)) & set(packages))
        evidence = f"{common} packages, all equal on both sides"
        return Check(name="pins", status=Status.OK, evidence=evidence)
    named = ", ".join(rows[:MOST_NAMED])
    more = f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
    return Check(
        name="pins",
        status=Status.FAILED,
        evidence=f"notebook and workers differ: {named}{more}",
        next_step="Build both from one lock: `worker` and `lab` of one Dockerfile.",
    )


def differing(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """Return what differs between a notebook's packages and a worker's.

    Parameters
    ----------
    here, there
        Versions by name. The smaller of the two is the worker's: the notebook's may
        have more, and that is no difference.

    Examples
    --------
    >>> differing({"a": "1", "b": "2", "c": "1"}, {"a": "1", "b": "3"})
    ['b 2 here, 3 there']
    """
    smaller = here if len(here) <= len(there) else there
    return [
        f"{name} {here.get(name, 'missing')} here, {there.get(name, 'missing')} there"
        for name in sorted(smaller)
        if here.get(name) != there.get(name)
    ]
