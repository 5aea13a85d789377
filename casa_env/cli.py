"""The command line, ``casa-env``: its words, and how failures are told."""

# ruff: noqa: T201 - printing is what this module is for

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from casa_env import commands
from casa_env.errors import CasaEnvError, CellError

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
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    show = subparsers.add_parser("show", help="print the settings and their sources")
    show.add_argument("--profile", help="a [profile.NAME] of the configuration files")
    show.add_argument(
        "--template", action="store_true", help="print a configuration file to fill in"
    )
    show.set_defaults(command=commands.show)

    info = subparsers.add_parser("info", help="print what is installed, for reports")
    info.add_argument(
        "--run", metavar="ID", help="print what a recorded run was made of"
    )
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(command=commands.info)

    doctor = subparsers.add_parser("doctor", help="check this place and its services")
    doctor.add_argument("--profile", help="a [profile.NAME] of the configuration files")
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(command=commands.doctor)

    xcache = subparsers.add_parser(
        "xcache", help="print where URLs would be read from, the first source first"
    )
    xcache.add_argument("url", nargs="+", metavar="URL")
    xcache.add_argument("--profile", help="a [profile.NAME] of the configuration files")
    xcache.set_defaults(command=commands.xcache)

    run = subparsers.add_parser("run", help="run a notebook and keep its outputs")
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
    run.set_defaults(command=commands.run)

    lab = subparsers.add_parser("lab", help="open JupyterLab on the clone")
    lab.add_argument("--port", type=int, default=8888, help="or the next free one")
    lab.add_argument("--base-url", default="/", metavar="PATH", help="such as /user/me")
    lab.add_argument("--no-browser", action="store_true", help="only print the URL")
    lab.set_defaults(command=commands.lab)
    return parser


class _Version(argparse.Action):
    """Print the version; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from casa_env.workers.sameness import casa_env_version

        print(f"casa-env {casa_env_version()}")
        parser.exit()


def _indented(source: str) -> str:
    """Return a cell's source with line numbers."""
    lines = enumerate(source.splitlines(), start=1)
    return "\n".join(f"  {number:3d} | {line}" for number, line in lines)


def _for_stdout(text: str) -> str:
    """Return coloured text as it is on a terminal, and plain elsewhere."""
    return text if sys.stdout.isatty() else _ANSI.sub("", text)
