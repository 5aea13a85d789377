"""A stand-in for HTCondor: its daemons are in no registry that tests may use.

``condor_submit`` here reads the submit file with HTCondor's own parser
(`htcondor2.Submit`), then really starts what the file says, with its log files; a job
whose header has ``requirements = False`` stays idle. ``condor_rm``, ``condor_q`` and
``condor_history`` know these jobs. There is no queue, no matching, no file transfer.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

#: Seconds that a job has to end by itself once it is told to.
GRACE_S = 5.0

PROGRAMS = ("condor_submit", "condor_rm", "condor_q", "condor_history")


def put_on_path(folder: Path) -> Path:
    """Write the programs into a folder, with a folder for their jobs; return it."""
    programs = folder / "bin"
    programs.mkdir()
    (folder / "jobs").mkdir()
    for name in PROGRAMS:
        program = programs / name
        words = shlex.join([sys.executable, __file__, str(folder / "jobs"), name])
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)
    return programs


def submit(jobs: Path, file: str) -> str:
    """Start what a submit file says."""
    os.environ.setdefault("CONDOR_CONFIG", "/dev/null")
    import htcondor2

    parsed = htcondor2.Submit(Path(file).read_text())
    cluster = next(n for n in count(1) if taken(jobs / f"{n}.json"))
    names = {"$(ClusterId)": str(cluster), "$F(MY.JobId)": f"{cluster}.0"}
    names["$(LogDirectory)"] = parsed["LogDirectory"]

    def value(key: str) -> str:
        text = str(parsed[key])
        for name, filled in names.items():
            text = text.replace(name, filled)
        return text

    about = {"pid": 0}
    if parsed.get("requirements") != "False":
        with (
            Path(value("Output")).open("wb") as output,
            Path(value("Error")).open("wb") as error,
        ):
            job = subprocess.Popen(
                [value("Executable"), *arguments(value("Arguments"))],
                stdout=output,
                stderr=error,
                start_new_session=True,
                cwd=jobs,
                # HTCondor gives a job no more of the environment than it asks for.
                env={"PATH": os.environ["PATH"], "HOME": str(jobs)},
            )
        about = {"pid": job.pid}
    (jobs / f"{cluster}.json").write_text(json.dumps(about))
    return f"Submitting job(s).\n1 job(s) submitted to cluster {cluster}."


def taken(file: Path) -> bool:
    """Make a file, unless it is there."""
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def arguments(text: str) -> list[str]:
    """Return arguments from HTCondor's new syntax: its manual, condor_submit."""
    signs = iter(text.removeprefix('"').removesuffix('"').replace('""', '"') + " ")
    words, word, quoted = [], "", False
    for sign in signs:
        if sign == "'" and not quoted:
            quoted = True
        elif sign == "'":
            after = next(signs)
            quoted = after == "'"  # two are one inside, and one ends
            word += "'" if quoted else ""
            if not quoted:
                words, word = [*words, word + after.strip()], ""
        elif sign == " " and not quoted:
            words, word = [*words, word], ""
        else:
            word += sign
    return [word for word in words if word]


def alive(about: dict[str, int]) -> bool:
    """Tell whether a job's process is there."""
    stat = Path(f"/proc/{about['pid']}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def remove(jobs: Path, number: str) -> None:
    """Stop a job with its process group."""
    file = jobs / f"{number.partition('.')[0]}.json"
    about = json.loads(file.read_text())
    if about["pid"] and alive(about):
        os.killpg(about["pid"], signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while alive(about) and time.monotonic() < deadline:
            time.sleep(0.05)
        if alive(about):
            os.killpg(about["pid"], signal.SIGKILL)
    file.write_text(json.dumps(about | {"removed": 1}))


def status(jobs: Path, number: str) -> str:
    """Return a job's status as HTCondor counts them."""
    about = json.loads((jobs / f"{number.partition('.')[0]}.json").read_text())
    if about.get("removed"):
        return "3"
    if not about["pid"]:
        return "1"
    return "2" if alive(about) else "4"


def shown(jobs: Path, program: str, numbers: list[str]) -> list[str]:
    """Return the lines that condor_q, or condor_history, prints of jobs."""
    wanted = ("1", "2") if program == "condor_q" else ("3", "4")
    found = {number: status(jobs, number) for number in numbers}
    return [
        f"{number.partition('.')[0]} 0 {code} undefined undefined"
        for number, code in found.items()
        if code in wanted
    ]


def main(jobs: Path, program: str, words: list[str]) -> None:
    """Be one of the programs."""
    if program == "condor_submit":
        print(submit(jobs, words[-1]))  # noqa: T201 - a program
    elif program == "condor_rm":
        remove(jobs, words[-1])
    else:
        before = words[: words.index("-limit")] if "-limit" in words else words
        numbers = [word for word in before if word.partition(".")[0].isdigit()]
        print("\n".join(shown(jobs, program, numbers)))  # noqa: T201 - a program


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
