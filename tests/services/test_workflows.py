"""The workflows are well formed, pinned and careful; others' linters say so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

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


def test_the_release_names_what_was_tested_and_signs_it() -> None:
    text = (FOLDER / "publish.yml").read_text()
    order = ("pytest tests/image", "docker push", "imagetools create", "cosign sign")
    places = [text.index(step) for step in order]
    assert places == sorted(places)
