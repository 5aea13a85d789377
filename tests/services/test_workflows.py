"""The workflows are well formed, pinned and careful; others' linters say so."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.image_tools import image_tools

FOLDER = Path(__file__).resolve().parents[2] / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))


@pytest.fixture(scope="module")
def tools(repository: Path) -> Path:
    return image_tools(repository)


def complaints(tools: Path, *files: Path) -> str:
    done = subprocess.run(
        [str(tools / "actionlint"), "-oneline", *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout + done.stderr


def test_actionlint_has_nothing_to_say(tools: Path) -> None:
    assert len(WORKFLOWS) >= 3
    assert complaints(tools, *WORKFLOWS) == ""


def test_actionlint_would_have_something_to_say(tools: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    text = (FOLDER / "ci.yml").read_text()
    wrong.write_text(text.replace("runner.temp", "runner.tmp"))
    assert 'property "tmp" is not defined' in complaints(tools, wrong)


def test_zizmor_finds_nothing_dangerous(tools: Path) -> None:
    done = subprocess.run(
        [str(tools / "zizmor"), "--offline", "--quiet", str(FOLDER)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit(workflow: Path) -> None:
    used = re.findall(r"uses: (\S+) *(#.*)?$", workflow.read_text(), re.MULTILINE)
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r"# v\d+\.\d+\.\d+", comment), action


def jobs(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / name).read_text())["jobs"])


def script(job: Any, step: str) -> str:
    """Return what a step of a job runs."""
    (found,) = [one["run"] for one in job["steps"] if one.get("name") == step]
    return str(found)


def run(text: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as the runner does."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", text],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


#: Runs what others wrote: a build, a test, an installer, a program of ours with these.
FOREIGN = re.compile(r"\b(make|pytest|install\.py|image\.py|lock\.py|\.ci/run)\b")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_what_can_write_or_knows_a_secret_runs_nothing_new(workflow: Path) -> None:
    for name, job in jobs(workflow.name).items():
        text = yaml.safe_dump(job)
        may = "write" in job["permissions"].values() or "environment" in job
        if may or "secrets." in text:
            commands = "\n".join(step.get("run", "") for step in job["steps"])
            assert not FOREIGN.search(commands), name
            for line in commands.splitlines():
                assert "pip install" not in line or "--require-hashes" in line, name


def test_new_versions_are_tried_before_they_are_proposed() -> None:
    resolve, propose = jobs("refresh.yml").values()
    commands = [step.get("run") for step in resolve["steps"]]
    assert commands.index("make lock-upgrade") < commands.index("make test")
    assert resolve["permissions"] == {"contents": "read"}
    assert propose["needs"] == "resolve"


def handed_over(tmp_path: Path) -> tuple[Path, Path]:
    """Return a checkout with two files, and a folder with what has been handed over."""
    checkout, temp = tmp_path / "a checkout", tmp_path / "temp"
    (checkout / "environment").mkdir(parents=True)
    (temp / "locks").mkdir(parents=True)
    for name in ("lab.lock", "packages.md"):
        (checkout / "environment" / name).write_text("old")
        (temp / "locks" / name).write_text("new")
    return checkout, temp


TAKE = "Take the files that there were, and no others"


def test_only_the_locks_are_taken_from_what_was_handed_over(tmp_path: Path) -> None:
    checkout, temp = handed_over(tmp_path)
    for name in ("evil.lock", "lock.py"):
        (temp / "locks" / name).write_text("new")
    done = run(
        script(jobs("refresh.yml")["propose"], TAKE), checkout, RUNNER_TEMP=str(temp)
    )
    assert done.returncode == 0, done.stderr
    files = {file.name: file.read_text() for file in checkout.rglob("*.*")}
    assert files == {"lab.lock": "new", "packages.md": "new"}


@pytest.mark.parametrize("how", ["missing", "link"])
def test_a_lock_that_is_no_file_is_not_taken(tmp_path: Path, how: str) -> None:
    checkout, temp = handed_over(tmp_path)
    (temp / "locks" / "lab.lock").unlink()
    if how == "link":
        (temp / "locks" / "lab.lock").symlink_to("/etc/passwd")
    text = script(jobs("refresh.yml")["propose"], TAKE)
    assert run(text, checkout, RUNNER_TEMP=str(temp)).returncode != 0


#: Stands in for an engine, a registry and its tags: what is pushed has a digest of its
#: content, and a tag of the release is what TAMPERED says, if it says something.
DOCKER = r"""#!/bin/bash
echo "$*" >>"$FOLDER/asked"
digest() { echo "sha256:$(printf %s "$1" | sha256sum | cut -d' ' -f1)"; }
case "$1 $2 $3" in
"load "*) ;;
"tag "*) echo "${3%:*}@$(digest "$2")" >"$FOLDER/${2#sha256:}" ;;
"push "*) ;;
"image inspect "*) echo "elsewhere/casa@sha256:0"; cat "$FOLDER/${5#sha256:}"; echo ;;
"buildx imagetools create")
    shift 5; for part; do echo "{\"digest\": \"${part#*@}\"}"; done |
    jq -s '{manifests: .}' >"$FOLDER/index" ;;
"buildx imagetools inspect")
    evil='{"manifests": [{"digest": "sha256:evil"}]}'
    [ -z "$TAMPERED" ] || echo "$evil" >"$FOLDER/index"
    if [ "$4" = --raw ]; then cat "$FOLDER/index"; else echo '"sha256:index"'; fi ;;
esac
"""


@pytest.mark.parametrize("tampered", ["", "yes"])
def test_the_release_is_what_was_tested_by_digest(
    tmp_path: Path, tampered: str
) -> None:
    build, release, _ = jobs("publish.yml").values()
    names = [
        f"{name}-{cpu}" for name in ("lab", "worker") for cpu in ("amd64", "arm64")
    ]
    assert sorted(build["outputs"]) == names
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    step = "Push what was tested, and give these digests their name"
    done = run(
        script(release, step),
        tmp_path,
        FOLDER=str(tmp_path),
        GITHUB_OUTPUT=str(tmp_path / "output"),
        GITHUB_REF_NAME="2026.11.0",
        GITHUB_SHA="f" * 40,
        LAB="registry.example/casa/casa-lab",
        PATH=f"{docker.parent}{os.pathsep}{os.environ['PATH']}",
        RUNNER_TEMP=str(tmp_path),
        TAMPERED=tampered,
        TESTED=json.dumps({name: f"sha256:tested-{name}" for name in names}),
        WORKER="registry.example/casa/casa-worker",
    )
    asked = (tmp_path / "asked").read_text()
    created = [line for line in asked.splitlines() if "imagetools create" in line]
    for line in created:
        *_, first, second = line.split()
        assert "@sha256:" in first
        assert "@sha256:" in second
    if tampered:
        assert done.returncode != 0
        assert "casa-lab@sha256:evil" in done.stdout
        assert not (tmp_path / "output").exists()
        return
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(created) == 2
    assert (tmp_path / "output").read_text().split() == [
        "lab=sha256:index",
        "worker=sha256:index",
    ]
    tagged = [line.split()[1] for line in asked.splitlines() if line.startswith("tag ")]
    assert sorted(tagged) == [f"sha256:tested-{name}" for name in names]


def test_the_release_is_tested_pushed_named_and_signed_in_this_order() -> None:
    text = (FOLDER / "publish.yml").read_text()
    order = ("pytest tests/image", "docker push", "imagetools create", "cosign sign")
    places = [text.index(step) for step in order]
    assert places == sorted(places)


def test_binder_starts_from_a_digest_that_publishing_writes(
    repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "binder").mkdir()
    file = tmp_path / "binder" / "Dockerfile"
    shutil.copy(repository / "binder" / "Dockerfile", file)
    begin = re.compile(
        r"^ARG CASA_LAB(=\S+:[\d.]+@sha256:[0-9a-f]{64})?\nFROM \$", re.MULTILINE
    )
    assert begin.search(file.read_text())
    for release in ("2026.11.0", "2026.12.1"):  # the second replaces the first
        digest = f"sha256:{release[-1] * 64}"
        done = run(
            script(jobs("publish.yml")["binder"], "Write the digest"),
            tmp_path,
            DIGEST=digest,
            GITHUB_REF_NAME=release,
            LAB="registry.example/casa/casa-lab",
        )
        assert done.returncode == 0, done.stderr
        found = begin.search(file.read_text())
        assert found is not None
        assert found[1] == f"=registry.example/casa/casa-lab:{release}@{digest}"
