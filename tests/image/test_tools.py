"""What others' tools say of the image: its style, its structure, its parts."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from support.image_tools import image_tools
from support.images import Images


@pytest.fixture(scope="module")
def tools(repository: Path) -> Path:
    return image_tools(repository)


@pytest.mark.parametrize("name", ["Dockerfile", "binder/Dockerfile"])
def test_hadolint_has_nothing_to_say(tools: Path, repository: Path, name: str) -> None:
    done = subprocess.run(
        [str(tools / "hadolint"), name],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_have_something_to_say(tools: Path, tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text("FROM debian:latest\nRUN sudo apt-get install git\n")
    done = subprocess.run(
        [str(tools / "hadolint"), str(bad)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "DL3007" in done.stdout


def test_the_dockerfile_is_short(repository: Path) -> None:
    assert len((repository / "Dockerfile").read_text().splitlines()) <= 60


def test_the_structure_is_what_was_promised(
    tools: Path, images: Images, repository: Path
) -> None:
    done = subprocess.run(
        [
            *(str(tools / "container-structure-test"), "test"),
            *("--config", str(repository / "tests" / "image" / "structure.yaml")),
            *("--image", images.lab),
        ],
        env=images.engine.environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_bill_of_materials_lists_every_pin(
    tools: Path, images: Images, tmp_path: Path
) -> None:
    bill = tmp_path / "lab.cdx.json"
    subprocess.run(
        [
            *(str(tools / "syft"), "scan", f"docker:{images.lab}", "--quiet"),
            *("--output", f"cyclonedx-json={bill}"),
        ],
        env=images.engine.environ | {"SYFT_CHECK_FOR_APP_UPDATE": "false"},
        timeout=600,
        check=True,
    )
    content = json.loads(bill.read_text())
    assert content["bomFormat"] == "CycloneDX"
    listed = {
        (re.sub(r"[-_.]+", "-", part["name"]).lower(), part.get("version"))
        for part in content["components"]
    }
    told = json.loads(images.run(images.lab, ["casa-env", "info", "--json"]))
    assert set(told["packages"].items()) <= listed
    kinds = [part.get("purl", "").split("/")[0] for part in content["components"]]
    assert kinds.count("pkg:deb") > 50
