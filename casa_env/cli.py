"""The command line, ``casa-env``: its words, what each does, and how failures look."""

# ruff: noqa: T201 - printing is what this module is for

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from casa_env.errors import CasaEnvError, CellError, redacted
from casa_env.settings import load_settings
from casa_env.settings.places import ENDINGS, catch_endings, writable_environment
from casa_env.settings.table import config_template, declarations


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status.

    0 where all is well, 1 where something failed, 2 for a command that does not exist,
    130 after Ctrl-C and 128 + N after signal N, as a shell reports them (143: SIGTERM).
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options) or 0)
    except CellError as err:
        lines = enumerate(err.source.splitlines(), start=1)
        source = "\n".join(f"  {number:3d} | {line}" for number, line in lines)
        colours = err.traceback if sys.stdout.isatty() else ""
        traceback = colours or re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", err.traceback)
        print(f"\n{source}\n\n{traceback}", flush=True)
        print(f"\ncasa-env: {err}", file=sys.stderr)
        return 1
    except CasaEnvError as err:
        print(f"casa-env: {err}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ncasa-env: interrupted", file=sys.stderr)
        return 130
    except asyncio.CancelledError as err:
        number = signal.Signals(err.args[0])
        with contextlib.suppress(OSError):  # the terminal may be gone
            words = (
                "terminated" if number == signal.SIGTERM else f"{number.name}: ended"
            )
            print(f"\ncasa-env: {words}", file=sys.stderr)
        return 128 + number
    except BrokenPipeError:
        # The reader, such as `head`, has left. Python would complain once more when
        # it flushes what remains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="casa-env", description="What this place offers, and notebooks run in it."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        run: Callable[[argparse.Namespace], int | None], words: str, *options: str
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(run.__name__.strip("_"), help=words)
        made.set_defaults(command=run)
        if "--profile" in options:
            profile = "a [profile.NAME] of the configuration files"
            made.add_argument("--profile", metavar="NAME", help=profile)
        if "--json" in options:
            made.add_argument("--json", action="store_true", help="print JSON")
        return made

    show = command(_show, "print the settings and their sources", "--profile")
    words = "print a configuration file to fill in"
    show.add_argument("--template", action="store_true", help=words)

    info = command(_info, "print what is installed, for reports", "--json")
    words = "print what a recorded run was made of"
    info.add_argument("--run", metavar="ID", help=words)

    command(_doctor, "check this place and its services", "--profile", "--json")

    words = "print where URLs would be read from, the first source first"
    xcache = command(_xcache, words, "--profile")
    xcache.add_argument("url", nargs="+", metavar="URL")

    run = command(_run, "run a notebook and keep its outputs", "--profile")
    run.add_argument("notebook", type=Path, metavar="NOTEBOOK")
    run.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="set a parameter of the notebook; may be repeated",
    )
    words = "where the executed copy goes (default: results/ beside the notebook)"
    run.add_argument("--output", type=Path, metavar="FILE", help=words)
    words = "give up after S seconds in all"
    run.add_argument("--timeout", type=float, metavar="S", help=words)

    lab = command(_lab, "open JupyterLab on the clone")
    lab.add_argument("--port", type=int, default=8888, help="or the next free one")
    lab.add_argument("--base-url", default="/", metavar="PATH", help="such as /user/me")
    lab.add_argument("--no-browser", action="store_true", help="only print the URL")
    return parser


class _Version(argparse.Action):
    """Print the version; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from casa_env.workers.sameness import casa_env_version

        print(f"casa-env {casa_env_version()}")
        parser.exit()


def _show(options: argparse.Namespace) -> None:
    """Print every setting with its value and where that came from."""
    if options.template:
        print(config_template(), end="")
        return
    settings = load_settings(profile=options.profile)
    names = list(declarations())
    width = max(map(len, names))
    values = min(40, max(len(settings.shown(name)) for name in names))
    for name in names:
        shown, origin = settings.shown(name), settings.origin(name)
        print(f"{name:<{width}}  {shown:<{values}}  {origin}")


def _info(options: argparse.Namespace) -> None:
    """Print what is installed, or what a recorded run was made of."""
    if options.run:
        from casa_env.models.mlflow import run_info

        recorded = run_info(options.run)
        if options.json:
            print(json.dumps(recorded, indent=1))
            return
        for name, value in recorded.items():
            several = value.items() if isinstance(value, dict) else [(name, value)]
            for key, one in several:
                parts = one if isinstance(one, list) else [one]
                print("\n".join(f"* {key}: {part}" for part in parts))
        return
    from casa_env.workers.sameness import environment_here, environment_info

    here = environment_here()
    content = {"id": here.id, **asdict(here), "packages": dict(here.packages)}
    print(json.dumps(content, indent=1) if options.json else environment_info(here))


def _doctor(options: argparse.Namespace) -> int:
    """Print one check for each service; fail if one failed."""
    from casa_env.doctor import run_checks

    checks = run_checks(load_settings(profile=options.profile))
    if options.json:
        print(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            print(f"{check.status:<8} {check.name:<12} {check.evidence}")
            if check.next_step:
                print(f"{'':<21} -> {check.next_step}")
    return int(any(check.status == "failed" for check in checks))


def _xcache(options: argparse.Namespace) -> None:
    """Print where each URL would be read from here, in the order that is tried."""
    from casa_env.data.xcache import xcache_url
    from casa_env.tokens.bearer import may_send_token
    from fsspec_failover import sources

    settings = load_settings(profile=options.profile)
    for url in options.url:
        print(redacted(url))
        for source in sources(xcache_url(url, settings, failover=True)):
            with_token = ", with the token" if may_send_token(source, settings) else ""
            print(f"  {redacted(source)}{with_token}")


def _run(options: argparse.Namespace) -> None:
    """Run a notebook; say where its outputs went."""
    from casa_env.parameters import parse_parameter
    from casa_env.running import progress_reporter, run_notebook

    parameters = dict(parse_parameter(text) for text in options.parameter)
    if options.profile:
        load_settings(profile=options.profile)  # a wrong name fails here, at once
    clone = _clone()
    extra = _writable(clone)
    catch_endings(_terminate)
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


def _terminate(number: int, _: object) -> None:
    """Let a signal end a run as Ctrl-C does: in order, with its outputs kept."""
    for other in ENDINGS:  # one is enough: what follows is to come to its end
        signal.signal(other, signal.SIG_IGN)
    raise asyncio.CancelledError(number)


def _lab(options: argparse.Namespace) -> None:
    """Become JupyterLab, which prints the URL to open."""
    from casa_env.lab.extension import (
        clone_root,
        keep_clean,
        lab_command,
        lab_environment,
    )

    clone = clone_root()
    keep_clean(clone)
    extra = _writable(clone)
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
    environ = os.environ | extra
    environ = lab_environment(environ, clone=clone, base_url=options.base_url)
    print("casa-env: JupyterLab starts; Ctrl-C twice stops it", flush=True)
    os.execve(command[0], command, environ)  # noqa: S606 - no shell on purpose


def _writable(clone: Path | None) -> dict[str, str]:
    """Return variables that lead caches to a place that can be written; say so."""
    fallback = clone / ".cache" if clone else None
    extra, reason = writable_environment(os.environ, fallback=fallback)
    if reason:
        print(f"casa-env: {reason}", flush=True)
    return extra


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
