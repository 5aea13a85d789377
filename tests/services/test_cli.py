from __future__ import annotations

import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from casa_env import cli
from casa_env.settings.table import declarations

SECRET = {"BEARER_TOKEN": "s3cret"}


@pytest.fixture
def casa_env(repository: Path, tmp_path: Path) -> type[Cli]:
    Cli.root, Cli.cwd = repository, tmp_path
    return Cli


class Cli:
    """The command line, as a user's shell runs it."""

    root: Path
    cwd: Path

    @classmethod
    def run(cls, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "casa_env", *words],
            cwd=cls.cwd,
            env=os.environ | {"PYTHONPATH": str(cls.root)} | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    @classmethod
    def notebook(cls, *sources: str, tags: tuple[str, ...] = ()) -> str:
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        cells[-1].metadata["tags"] = list(tags)
        cells[0].metadata["tags"] = ["parameters"] if len(cells) > 1 else list(tags)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), cls.cwd / "x.ipynb")
        return "x.ipynb"


def test_show_lists_every_setting_with_value_and_source(casa_env: type[Cli]) -> None:
    done = casa_env.run("show", CASA_ENV_SITE_NAME="here", **SECRET)
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(declarations())
    assert any(line.split()[1:] == ['"here"', "CASA_ENV_SITE_NAME"] for line in lines)
    assert "s3cret" not in done.stdout
    assert done.returncode == 0


def test_show_can_look_at_another_profile(casa_env: type[Cli], tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text("[profile.big]\ndask_workers = 9")
    done = casa_env.run("show", "--profile", "big", CASA_ENV_SITE_FILE=str(site))
    (line,) = [x for x in done.stdout.splitlines() if x.startswith("dask_workers")]
    assert line.split()[1:] == ["9", f"{site},", "line", "2"]


def test_a_wrong_setting_is_three_lines_and_no_traceback(casa_env: type[Cli]) -> None:
    done = casa_env.run("show", CASA_ENV_XCACHE_ULR="x")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "casa-env: There is no setting 'xcache_ulr'; the nearest is 'xcache_url'.",
        "  looked at: CASA_ENV_XCACHE_ULR",
        "  next step: `casa-env show` lists the settings.",
    ]


def test_info_is_a_markdown_list_or_json_with_the_same_id(casa_env: type[Cli]) -> None:
    text, content = (
        casa_env.run("info"),
        json.loads(casa_env.run("info", "--json").stdout),
    )
    assert text.stdout.startswith(f"* environment: {content['id']}\n")
    assert content["packages"]["numpy"]


def test_a_reader_that_leaves_early_is_no_error_worth_a_traceback(
    casa_env: type[Cli],
) -> None:
    command = f"{shlex.quote(sys.executable)} -u -m casa_env info | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command],
        env=os.environ | {"PYTHONPATH": str(casa_env.root)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("* environment:")
    assert done.stderr == ""


def test_doctor_fails_when_a_check_failed_and_speaks_json(casa_env: type[Cli]) -> None:
    well = casa_env.run("doctor", CASA_ENV_DASK_PROCESSES="false")
    assert well.returncode == 0
    assert "off      mlflow" in well.stdout
    ill = casa_env.run(
        "doctor",
        "--json",
        CASA_ENV_DASK_PROCESSES="false",
        CASA_ENV_TRITON_URL="grpc://127.0.0.1:1",
    )
    assert ill.returncode == 1
    (triton,) = [c for c in json.loads(ill.stdout) if c["name"] == "triton"]
    assert triton["status"] == "failed"


def test_run_prints_a_line_a_cell_the_summary_and_where_the_copy_is(
    casa_env: type[Cli], tmp_path: Path
) -> None:
    name = casa_env.notebook(
        "# set up\nN = 1", "# fit\nprint('N is', N)", tags=("summary",)
    )
    done = casa_env.run("run", name, "-p", "N=3")
    output = tmp_path / "results" / "x" / "x.ipynb"
    lines = done.stdout.splitlines()
    assert done.stderr == ""
    assert lines.pop(0) == "casa-env: running x.ipynb"
    assert [line.rsplit(" ", 2)[0] for line in lines[:3]] == [
        "[1/3] set up",
        "[2/3] N = 3",
        "[3/3] fit",
    ]
    assert lines[3:5] == ["", "N is 3"]
    assert lines[6].startswith("The executed notebook, after ")
    assert lines[6].endswith(f": {output}")
    assert lines[7] == f"To open it: jupyter lab {output}"
    assert output.is_file()


def test_a_copy_in_the_clone_is_opened_with_make_lab_and_any_other_by_its_path() -> (
    None
):
    clone = Path("/home/alice/a clone")
    copy = clone / "notebooks" / "results" / "x.ipynb"
    assert cli._opener(copy, clone) == "make lab"
    assert cli._opener(copy, None) == f"jupyter lab '{copy}'"
    assert cli._opener(Path("/data/x.ipynb"), clone) == "jupyter lab /data/x.ipynb"


def test_run_shows_the_failing_cell_and_its_traceback_without_colours_on_a_pipe(
    casa_env: type[Cli],
) -> None:
    done = casa_env.run("run", casa_env.notebook("# divide\n1 / 0"))
    assert done.returncode == 1
    assert "    1 | # divide\n    2 | 1 / 0\n" in done.stdout
    assert "ZeroDivisionError: division by zero" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "Cell 1 of 1 (divide) failed" in done.stderr
    assert "casa_env/" not in done.stdout + done.stderr


def test_run_refuses_an_unknown_parameter_with_those_there_are(
    casa_env: type[Cli],
) -> None:
    done = casa_env.run("run", casa_env.notebook("N = 1", "x = 1"), "-p", "M=3")
    assert done.returncode == 1
    assert "no parameter 'M'; there are: N." in done.stderr


def test_run_refuses_an_unknown_profile_before_it_starts(casa_env: type[Cli]) -> None:
    done = casa_env.run("run", casa_env.notebook("x = 1"), "--profile", "none")
    assert done.returncode == 1
    assert "There is no profile 'none'" in done.stderr
    assert done.stdout == ""


def test_run_says_where_caches_go_when_the_home_is_read_only(
    casa_env: type[Cli],
) -> None:
    name = casa_env.notebook("x = 1")
    done = casa_env.run("run", name, HOME="/proc/nonexistent")
    assert done.returncode == 0
    assert done.stdout.startswith("casa-env: /proc/nonexistent cannot be written")


def test_run_keeps_a_live_line_on_a_terminal(casa_env: type[Cli]) -> None:
    name = casa_env.notebook(
        "# wait\nimport time, sys\nprint('half way', flush=True)\ntime.sleep(1)"
    )
    master, slave = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "casa_env", "run", name],
        cwd=casa_env.cwd,
        env=os.environ | {"PYTHONPATH": str(casa_env.root), "COLUMNS": "60"},
        stdout=slave,
        stderr=slave,
    ) as process:
        os.close(slave)
        written = b""
        try:
            while part := os.read(master, 4096):
                written += part
        except OSError:  # the other end is closed
            pass
        os.close(master)
    assert process.returncode == 0
    assert b"\r\x1b[K[1/1] wait 0 s | half way" in written


def test_the_version_is_printed(casa_env: type[Cli]) -> None:
    done = casa_env.run("--version")
    assert done.stdout.startswith("casa-env ")
    assert done.returncode == 0


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["run"], ["run", "x", "--timeout", "a"]]
)
def test_a_wrong_command_is_a_usage_error(
    words: list[str], casa_env: type[Cli]
) -> None:
    done = casa_env.run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: casa-env")


def test_xcache_prints_where_each_url_would_be_read_from(casa_env: type[Cli]) -> None:
    origin = "root://origin.example.org//store/f.root"
    site = {"XCACHE_URL": "root://cache:1094", "TOKEN_HOSTS": "cache"}
    environ = {f"CASA_ENV_{name}": value for name, value in site.items()}
    done = casa_env.run("xcache", origin, "data/f.root", **environ, **SECRET)
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        origin,
        f"  root://cache:1094//{origin}, with the token",
        f"  {origin}",
        "data/f.root",
        "  data/f.root",
    ]
    done = casa_env.run("xcache", origin)
    assert done.stdout.splitlines() == [origin, f"  {origin}"]
