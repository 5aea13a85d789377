"""Binder: repo2docker builds binder/, and what Binder starts answers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.buildx import buildx_plugin
from support.figures import Figures
from support.images import Images

#: As BinderHub and repo2docker start a server; both are in use.
COMMANDS = {
    "jupyter notebook": ["jupyter", "notebook", "--ip=0.0.0.0", "--port=8888"],
    "jupyter lab": ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888"],
}

#: What BinderHub adds to either.
BINDER = [
    "--NotebookApp.base_url=/user/visitor/",
    "--NotebookApp.token=secret",
    "--NotebookApp.trust_xheaders=True",
    "--NotebookApp.allow_origin=*",
]


@pytest.fixture(scope="module")
def binder(
    images: Images, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Build binder/ with repo2docker, on the image of this session."""
    folder = tmp_path_factory.mktemp("binder")
    clone = folder / "clone"
    for name in ("binder", "notebooks"):
        ignored = shutil.ignore_patterns("__pycache__", "results")
        shutil.copytree(repository / name, clone / name, ignore=ignored)
    for name in (".dockerignore", "README.md"):
        shutil.copy(repository / name, clone)
    environ = images.engine.environ | {"HOME": str(folder)}
    environ["DOCKER_CONFIG"] = str(buildx_plugin(images.engine, folder))
    configuration = folder / "repo2docker_config.py"
    configuration.write_text(
        "c.DockerEngine.extra_buildx_build_args = ['--network', 'host']\n"
    )
    image = f"casa-binder:{images.tag}"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "repo2docker", "--config", str(configuration)),
            *("--no-run", "--user-id", "1000", "--user-name", "jovyan"),
            *("--build-arg", f"CASA_LAB={images.lab}"),
            *("--image-name", image, str(clone)),
        ],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return image


@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
def test_what_binder_starts_answers(
    images: Images, binder: str, command: list[str]
) -> None:
    limits = ("--memory=2g", "--cpus=1")
    words = [*command, *BINDER]
    variables = ("--env=BINDER_REQUEST=v2/gh/casa/casa/main",)
    with images.running(binder, words, *limits, *variables) as container:
        base = "http://127.0.0.1:8888/user/visitor"
        curl = ["curl", "--silent", "--fail", "--location"]
        curl += ["--retry", "60", "--retry-all-errors", "--retry-delay", "1"]
        assert "version" in container.execute(*curl, f"{base}/api")
        page = f"{base}/lab/tree/notebooks/agc-ttbar.ipynb?token=secret"
        assert "JupyterLab" in container.execute(*curl, page)


def test_the_analysis_fits_into_what_a_visitor_has(
    images: Images, binder: str, figures: Figures
) -> None:
    limits = ("--memory=1g", "--memory-swap=1g", "--cpus=1")
    variables = ("--env=BINDER_REQUEST=v2/gh/casa/casa/main", "--env=CPU_LIMIT=1")
    words = ["casa-env", "run", "notebooks/agc-ttbar.ipynb"]
    printed = images.run(binder, words, *limits, *variables)
    assert "ttbar_norm" in printed
    (took,) = re.findall(r"after (\d+) s", printed)
    figures.add("agc-ttbar on Binder: 1 GB, one core", float(took), "s")


def test_the_repository_is_in_the_home_and_the_users(
    images: Images, binder: str
) -> None:
    home = images.inspect(binder)["Config"]["WorkingDir"]
    assert home == "/home/jovyan"
    code = "ls README.md notebooks/00-welcome.ipynb && find . ! -user 1000"
    assert images.run(binder, ["sh", "-c", code]).split() == [
        "README.md",
        "notebooks/00-welcome.ipynb",
    ]
