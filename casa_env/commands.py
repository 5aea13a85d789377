"""What each command of ``casa-env`` does; they print, as `casa_env.cli` does."""

# ruff: noqa: T201 - printing is what this module is for

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shlex
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from casa_env.errors import CasaEnvError
from casa_env.settings import load_settings
from casa_env.settings.table import declarations

if TYPE_CHECKING:
    from casa_env.checks import Check

__all__ = ["doctor", "info", "lab", "run", "show", "xcache"]


def show(options: argparse.Namespace) -> int:
    """Print every setting with its value and where that came from."""
    if options.template:
        from casa_env.settings.table import config_template

        print(config_template(), end="")
        return 0
    settings = load_settings(profile=options.profile)
    rows = [
        (name, settings.shown(name), settings.origin(name)) for name in declarations()
    ]
    names, shown = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, value, origin in rows:
        print(f"{name:<{names}}  {value:<{min(shown, 40)}}  {origin}")
    return 0


def info(options: argparse.Namespace) -> int:
    """Print what is installed, or what a recorded run was made of."""
    if options.run:
        from casa_env.models.mlflow import run_info

        recorded = run_info(options.run)
        print(
            json.dumps(asdict(recorded), indent=1) if options.json else recorded.lines()
        )
        return 0
    from casa_env.workers.sameness import environment_here, environment_info

    environment = environment_here()
    if options.json:
        content = {"id": environment.id, **asdict(environment)}
        print(json.dumps(content | {"packages": dict(environment.packages)}, indent=1))
    else:
        print(environment_info(environment))
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Print one check for each service; fail if one failed."""
    from casa_env.doctor import run_checks

    return _told(run_checks(load_settings(profile=options.profile)), options)


def _told(checks: list[Check], options: argparse.Namespace) -> int:
    """Print checks; return 1 if one failed."""
    if options.json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            print(f"{check.status:<8} {check.name:<12} {check.evidence}")
            if check.next_step:
                print(f"{'':<21} -> {check.next_step}")
    return int(any(check.status == "failed" for check in checks))


def xcache(options: argparse.Namespace) -> int:
    """Print where each URL would be read from here, in the order that is tried."""
    from casa_env.credentials import may_send_token
    from casa_env.settings.table import shown
    from casa_env.xcache import sources, xcache_url

    settings = load_settings(profile=options.profile)
    for url in options.url:
        print(shown(url).strip('"'))
        for source in sources(xcache_url(url, settings, failover=True)):
            with_token = ", with the token" if may_send_token(source, settings) else ""
            print(f"  {shown(source).strip(chr(34))}{with_token}")
    return 0


def run(options: argparse.Namespace) -> int:
    """Run a notebook; say where its outputs went."""
    from casa_env.running import parse_parameter, progress_reporter, run_notebook
    from casa_env.settings.places import writable_environment

    parameters = dict(parse_parameter(text) for text in options.parameter)
    if options.profile:
        load_settings(profile=options.profile)  # a wrong name fails here, at once
    clone = _clone()
    extra, reason = writable_environment(
        os.environ, fallback=clone / ".cache" if clone else None
    )
    if reason:
        print(f"casa-env: {reason}", flush=True)
    print(f"casa-env: running {options.notebook}", flush=True)
    signal.signal(signal.SIGTERM, _terminate)
    run = run_notebook(
        options.notebook,
        parameters=parameters,
        output=options.output,
        profile=options.profile,
        timeout=options.timeout,
        environ=os.environ | extra,
        report=progress_reporter(sys.stdout),
    )
    if run.summary:
        print(f"\n{run.summary.strip()}")
    print(f"\nThe executed notebook, after {run.seconds:.0f} s: {run.output}")
    print(f"To open it: {_opener(run.output, clone)}")
    return 0


def lab(options: argparse.Namespace) -> int:
    """Become JupyterLab, which prints the URL to open."""
    from casa_env.lab.extension import clone_root, lab_command, lab_environment
    from casa_env.settings.places import writable_environment

    clone = clone_root()
    extra, reason = writable_environment(os.environ, fallback=clone / ".cache")
    if reason:
        print(f"casa-env: {reason}")
    as_root = os.geteuid() == 0
    if as_root:
        print("casa-env: you are root, so notebooks run as root (--allow-root)")
    command = lab_command(
        clone=clone,
        port=options.port,
        base_url=options.base_url,
        browser=not options.no_browser,
        quiet=not {"JUPYTER_TOKEN", "JUPYTER_TOKEN_FILE"} & os.environ.keys(),
        as_root=as_root,
    )
    environment = lab_environment(
        os.environ | extra, clone=clone, base_url=options.base_url
    )
    print("casa-env: JupyterLab starts; Ctrl-C twice stops it", flush=True)
    os.execve(command[0], command, environment)  # noqa: S606 - no shell on purpose


def _terminate(*_: object) -> NoReturn:
    """Raise, as Ctrl-C does, so that the kernel ends too."""
    raise asyncio.CancelledError


def _clone() -> Path | None:
    """Return the clone that this package is run from, if it is."""
    from casa_env.lab.extension import clone_root

    try:
        return clone_root()
    except CasaEnvError:
        return None


def _opener(output: Path, clone: Path | None) -> str:
    """Return the command that opens a notebook: `make lab` shows the clone only."""
    if clone is not None and output.is_relative_to(clone):
        return "make lab"
    return f"jupyter lab {shlex.quote(str(output))}"
