"""A clone whose notebooks are saved in JupyterLab stays clean, and can be pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import requests

from casa_env.lab.extension import keep_clean, lab_command, lab_environment
from support.lab import PATIENCE_S, Lab, running_lab

#: What JupyterLab 4.6 writes into a notebook that an IPython kernel has run.
LANGUAGE = {
    "codemirror_mode": {"name": "ipython", "version": 3},
    "file_extension": ".py",
    "mimetype": "text/x-python",
    "name": "python",
    "nbconvert_exporter": "python",
    "pygments_lexer": "ipython3",
    "version": "3.11.7",
}
PAGE = "notebooks/agc-hzz.ipynb"


def git(folder: Path, *arguments: str) -> str:
    """Run git as a user who has set nothing else."""
    who = ("-c", "user.name=Casa", "-c", "user.email=casa@example.org")
    command = ["git", *who, *arguments]
    return subprocess.check_output(command, cwd=folder, text=True)


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """Return a repository with what this one has of notebooks and JupyterLab."""
    folder = tmp_path_factory.mktemp("clean") / "upstream"
    for part in ("environment/jupyter", "environment/dask"):
        shutil.copytree(repository / part, folder / part)
    (folder / "notebooks").mkdir()
    for name in (".gitattributes", ".gitignore"):
        shutil.copy(repository / name, folder)
    for page in repository.glob("notebooks/*.ipynb"):
        shutil.copy(page, folder / "notebooks")
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=first")
    return folder


@pytest.fixture(scope="module")
def clone(upstream: Path) -> Path:
    """Return a clone of it, in a folder with a space, that `make lab` has set up."""
    folder = upstream.parent / "my clone"
    git(upstream.parent, "clone", "--quiet", str(upstream), folder.name)
    keep_clean(folder)
    return folder


@pytest.fixture(scope="module")
def lab(clone: Path, new_user: dict[str, str]) -> Iterator[Lab]:
    """Return the JupyterLab of that clone."""
    command = lab_command(clone=clone, browser=False, as_root=os.geteuid() == 0)
    environment = lab_environment(new_user, clone=clone)
    with running_lab(command, environment, clone) as running:
        yield running


def save(lab: Lab, clone: Path, page: str, change: str = "", to: str = "") -> None:
    """Save a notebook as JupyterLab does after a run, with an edit or none."""
    notebook: Any = nbformat.read(clone / page, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 3
            cell.outputs = [nbformat.v4.new_output("stream", text="5 % ± 1\n" * 40)]
            cell.metadata["execution"] = {"iopub.status.busy": "2026-01-01"}
    notebook.cells[0].source += change
    notebook.metadata.language_info = LANGUAGE
    answer = requests.put(
        f"{lab.root}api/contents/{to or page}",
        json={"type": "notebook", "format": "json", "content": notebook},
        headers={"Authorization": f"token {lab.token}"},
        timeout=PATIENCE_S,
    )
    assert answer.ok, answer.text


def status(clone: Path, wanted: str) -> str:
    """Return what git says of a clone once it says what is wanted, or in the end."""
    deadline = time.monotonic() + PATIENCE_S / 3
    while (found := git(clone, "status", "--porcelain").strip()) != wanted:
        if time.monotonic() > deadline:
            break
        time.sleep(0.2)
    return found


def test_every_notebook_is_in_git_as_the_filter_leaves_it(clone: Path) -> None:
    for page in clone.glob("notebooks/*.ipynb"):
        page.touch()
    assert git(clone, "status", "--porcelain") == ""


def test_a_clone_with_saved_outputs_is_clean_and_can_be_pulled(
    lab: Lab, clone: Path, upstream: Path
) -> None:
    save(lab, clone, PAGE)
    assert status(clone, "") == ""
    assert "5 % ± 1" in (clone / PAGE).read_text(), "the outputs are still there"

    page = upstream / PAGE
    page.write_text(page.read_text().replace("# ", "# New: ", 1))
    git(upstream, "commit", "--quiet", "--all", "--message=second")
    git(clone, "pull", "--quiet")
    assert (clone / PAGE).read_text() == page.read_text()


def test_an_edit_stays_the_users_to_add(lab: Lab, clone: Path) -> None:
    edited, mine = "notebooks/your-analysis.ipynb", "notebooks/mine.ipynb"
    save(lab, clone, edited, "\n\nMine.")
    save(lab, clone, PAGE, to=mine)
    save(lab, clone, PAGE)
    assert status(clone, f"M {edited}\n?? {mine}") == f"M {edited}\n?? {mine}"
    assert git(clone, "diff", "--cached", "--name-only") == ""
    changed = git(clone, "diff", "--unified=0").splitlines()[4:]
    assert all("Mine." in line or line[0] in "@+-" for line in changed)
    assert len(changed) < 10, "only the edit is seen, not the outputs"
