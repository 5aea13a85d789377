"""What the images are made of: the locks, no more than is needed, in good order."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.figures import Figures
from support.images import Images

#: In bytes: at most, and what we would like.
SIZES = {"lab": (1.9e9, 1.6e9), "worker": (1.4e9, 1.1e9)}

#: At most, in bytes, as a registry keeps it.
COMPRESSED = 600e6

#: Prints the largest parts of an environment, with their bytecode.
PARTS = """
import json, pathlib, sysconfig
def size(path):
    files = [path] if path.is_file() else path.rglob("*")
    return sum(f.lstat().st_size for f in files if not f.is_dir())
folder = pathlib.Path(sysconfig.get_path("purelib"))
parts = sorted(((size(p), p.name) for p in folder.iterdir()), reverse=True)
print(json.dumps(parts[:15]))
"""

#: Imports every module of the named distributions, each in its own interpreter.
IMPORTS = """
import re, subprocess, sys
from importlib.metadata import packages_distributions
normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()
modules = {}
for module, names in packages_distributions().items():
    if module.isidentifier() and not module.startswith("_"):
        for name in names:
            modules.setdefault(normal(name), []).append(module)
special = {"htcondor": ["classad2", "htcondor2"]}
failed = []
for name in sys.argv[1:]:
    for module in special.get(name) or sorted(modules[name])[:3]:
        if subprocess.run([sys.executable, "-c", f"import {module}"]).returncode:
            failed.append(module)
print("failed:", failed)
"""


def load_lock(repository: Path) -> object:
    sys.path.insert(0, str(repository / "environment"))
    try:
        import lock
    finally:
        sys.path.pop(0)
    return lock


@pytest.mark.parametrize("target", ["worker", "lab"])
def test_the_environments_id_is_the_locks(
    images: Images, repository: Path, target: str
) -> None:
    sys.path.insert(0, str(repository / "environment"))
    try:
        import image
    finally:
        sys.path.pop(0)
    name = getattr(images, target)
    here = json.loads(images.run(name, ["casa-env", "info", "--json"]))
    labels = images.inspect(name)["Config"]["Labels"]
    subprocess.run([images.engine.docker, "--version"], check=True, capture_output=True)
    asked = image.Environment(
        python=here["python"],
        platform=here["platform"],
        casa_env=here["casa_env"],
        packages=(),
    )
    pinned = image.locked(repository / "environment" / f"{target}.lock", asked)
    assert labels[image.LABEL] == here["id"] == pinned.id
    assert here["python"].startswith("3.13.")


@pytest.mark.parametrize("target", ["worker", "lab"])
def test_it_is_small(images: Images, figures: Figures, target: str) -> None:
    most, wanted = SIZES[target]
    size = images.inspect(getattr(images, target))["Size"]
    figures.add(f"{target}, unpacked", size / 1e9, "GB", target=most / 1e9)
    figures.add(f"{target}, unpacked (stretch)", size / 1e9, "GB", target=wanted / 1e9)
    assert size <= most
    for part, name in json.loads(
        images.run(getattr(images, target), ["python", "-c", PARTS])
    ):
        figures.add(f"  {target}: {name}", part / 1e6, "MB")


def test_it_is_small_in_a_registry(images: Images, figures: Figures) -> None:
    with (
        subprocess.Popen(
            [images.engine.docker, "save", images.lab],
            env=images.engine.environ,
            stdout=subprocess.PIPE,
        ) as save,
        subprocess.Popen(
            ["gzip", "-1"], stdin=save.stdout, stdout=subprocess.PIPE
        ) as packed,
    ):
        assert packed.stdout is not None
        size = sum(
            len(block) for block in iter(lambda: packed.stdout.read(1 << 20), b"")
        )
    figures.add("lab, compressed", size / 1e6, "MB", target=COMPRESSED / 1e6)
    assert size <= COMPRESSED


def test_a_worker_has_no_jupyter_and_no_entrypoint(images: Images) -> None:
    code = (
        "from importlib.util import find_spec as f; "
        "print([n for n in ('jupyterlab', 'jupyter_server', 'notebook') if f(n)])"
    )
    assert images.run(images.worker, ["python", "-c", code]).strip() == "[]"
    assert not images.inspect(images.worker)["Config"]["Entrypoint"]


@pytest.mark.parametrize("target", ["worker", "lab"])
def test_what_the_lists_name_can_be_imported(
    images: Images, repository: Path, target: str
) -> None:
    lock = load_lock(repository)
    listing = repository / "environment" / f"{target}.in"
    names = sorted(lock.requested(listing))  # type: ignore[attr-defined]
    assert len(names) > 10
    printed = images.run(getattr(images, target), ["python", "-c", IMPORTS, *names])
    assert printed.splitlines()[-1] == "failed: []"


def test_a_change_in_a_notebook_rebuilds_its_layer_alone(
    images: Images, repository: Path, tmp_path: Path, figures: Figures
) -> None:
    context = tmp_path / "context"
    for name in ("casa_env", "environment", "notebooks"):
        shutil.copytree(repository / name, context / name)
    for name in (
        ".dockerignore",
        "Dockerfile",
        "LICENSE",
        "README.md",
        "pyproject.toml",
    ):
        shutil.copy(repository / name, context)
    notebook = context / "notebooks" / "00-welcome.ipynb"
    notebook.write_text(notebook.read_text().replace("# Welcome", "# Be welcome"))
    began = time.monotonic()
    changed = f"casa-changed:{images.tag}"
    options = (*images.options, "--target=lab", f"--tag={changed}")
    secret = [f"--secret=id=ca,src={file}" for file in _bundle(images)]
    images.engine.command("build", *options, *secret, str(context))
    took = time.monotonic() - began
    figures.add("rebuild after a change in a notebook", took, "s", target=10)
    before = images.inspect(images.lab)["RootFS"]["Layers"]
    after = images.inspect(changed)["RootFS"]["Layers"]
    assert after[:-1] == before[:-1]
    assert after[-1] != before[-1]


def _bundle(images: Images) -> list[str]:
    """Return the file that the build takes certificate authorities from, if any."""
    found = images.engine.environ.get("SSL_CERT_FILE")
    return [found] if found else []


def test_nothing_of_the_build_stays(images: Images) -> None:
    code = "find /mnt /opt/tools /src /root /tmp /var/lib/apt/lists -type f -size +0"
    assert images.run(images.lab, ["sh", "-c", f"{code} 2>/dev/null; true"]) == ""
    variables = images.inspect(images.lab)["Config"]["Env"]
    assert not [name for name in variables if "CERT" in name or "PIP" in name]
