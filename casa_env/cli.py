"""The command line, ``casa-env``: the only code that prints."""

# ruff: noqa: T201 - printing is what this module is for

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from casa_env.display import progress_reporter
from casa_env.errors import CasaEnvError, CellError
from casa_env.options import declarations
from casa_env.settings import load_settings

__all__ = ["main"]

#: What a shell reports for a program that SIGINT, or SIGTERM, ended.
INTERRUPTED: Final = 130
TERMINATED: Final = 143

_ANSI: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        The words after ``casa-env``; by default those of this process.

    Returns
    -------
    int
        The exit status: 0 where all is well, 1 where something failed, 2 for a
        command that does not exist, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except CellError as err:
        print(f"\n{_indented(err.source)}\n\n{_for_stdout(err.traceback)}", flush=True)
        print(f"\ncasa-env: {err}", file=sys.stderr)
        return 1
    except CasaEnvError as err:
        print(f"casa-env: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncasa-env: interrupted", file=sys.stderr)
        return INTERRUPTED
    except asyncio.CancelledError:
        print("\ncasa-env: terminated", file=sys.stderr)
        return TERMINATED
    except BrokenPipeError:
        # The reader, such as `head`, has left. Python would complain once more when
        # it flushes what remains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="casa-env", description="What this place offers, and notebooks run in it."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    show = commands.add_parser("show", help="print the settings and their sources")
    show.add_argument("--profile", help="a [profile.NAME] of the configuration files")
    show.add_argument(
        "--template", action="store_true", help="print a configuration file to fill in"
    )
    show.set_defaults(command=_show)

    info = commands.add_parser("info", help="print what is installed, for reports")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(command=_info)

    doctor = commands.add_parser("doctor", help="check this place and its services")
    doctor.add_argument("--profile", help="a [profile.NAME] of the configuration files")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(command=_doctor)

    run = commands.add_parser("run", help="run a notebook and keep its outputs")
    run.add_argument("notebook", type=Path, metavar="NOTEBOOK")
    run.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the notebook; may be repeated",
    )
    run.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where the executed copy goes (default: results/ beside the notebook)",
    )
    run.add_argument("--profile", help="a [profile.NAME] of the configuration files")
    run.add_argument(
        "--timeout", type=float, metavar="S", help="give up after S seconds in all"
    )
    run.set_defaults(command=_run)

    lab = commands.add_parser("lab", help="open JupyterLab on the clone")
    lab.add_argument("--port", type=int, default=8888, help="or the next free one")
    lab.add_argument("--base-url", default="/", metavar="PATH", help="such as /user/me")
    lab.add_argument("--no-browser", action="store_true", help="only print the URL")
    lab.set_defaults(command=_lab)
    return parser


class _Version(argparse.Action):
    """Print the version; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from casa_env.identity import casa_env_version

        print(f"casa-env {casa_env_version()}")
        parser.exit()


def _show(options: argparse.Namespace) -> int:
    """Print every setting with its value and where that came from."""
    if options.template:
        from casa_env.config_template import config_template

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


def _info(options: argparse.Namespace) -> int:
    """Print what is installed."""
    from casa_env.identity import environment_here, environment_info

    environment = environment_here()
    if options.json:
        content = {"id": environment.id, **asdict(environment)}
        print(json.dumps(content | {"packages": dict(environment.packages)}, indent=1))
    else:
        print(environment_info(environment))
    return 0


def _doctor(options: argparse.Namespace) -> int:
    """Print one check for each service; fail if one failed."""
    from casa_env.doctor import Status, run_checks

    checks = run_checks(load_settings(profile=options.profile))
    if options.json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            print(f"{check.status:<8} {check.name:<12} {check.evidence}")
            if check.next_step:
                print(f"{'':<21} -> {check.next_step}")
    return int(any(check.status is Status.FAILED for check in checks))


def _run(options: argparse.Namespace) -> int:
    """Run a notebook; say where its outputs went."""
    from casa_env.execution import run_notebook
    from casa_env.parameters import parse_parameter
    from casa_env.paths import writable_environment

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


def _lab(options: argparse.Namespace) -> int:
    """Become JupyterLab, which prints the URL to open."""
    from casa_env.jupyter import clone_root, lab_command, lab_environment
    from casa_env.paths import writable_environment

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


def _clone() -> Path | None:
    """Return the clone that this package is run from, if it is."""
    from casa_env.jupyter import clone_root

    try:
        return clone_root()
    except CasaEnvError:
        return None


def _opener(output: Path, clone: Path | None) -> str:
    """Return the command that opens a notebook: `make lab` shows the clone only."""
    if clone is not None and output.is_relative_to(clone):
        return "make lab"
    return f"jupyter lab {shlex.quote(str(output))}"


def _indented(source: str) -> str:
    """Return a cell's source with line numbers."""
    lines = enumerate(source.splitlines(), start=1)
    return "\n".join(f"  {number:3d} | {line}" for number, line in lines)


def _for_stdout(text: str) -> str:
    """Return coloured text as it is on a terminal, and plain elsewhere."""
    return text if sys.stdout.isatty() else _ANSI.sub("", text)
