"""Flux's objects: two environments, by digest; promotion and rollback are commits."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.helm import CHART, Tools, named
from support.node import node_modules
from support.programs import required

GITOPS = CHART.parent / "gitops"
PARTS = ("chart", "lab", "postgres", "triton", "worker", "xcache")

#: Holds documents against the classes of Flux's API; prints what is wrong with each.
JUDGE = """\
const at = process.argv[2] + "/@kubernetes-models/flux-cd/";
const documents = JSON.parse(require("fs").readFileSync(0));
for (const document of documents) {
  const [group, version] = document.apiVersion.split("/");
  const Kind = require(at + group + "/" + version)[document.kind];
  try { new Kind(document).validate(); }
  catch (error) { console.log(document.kind + ": " + error.message); }
}
"""


def digests(first: str) -> list[str]:
    """Return a digest for each part of a release, all of one kind."""
    marks = enumerate(PARTS)
    return [f"{name}=sha256:{first}{n}{'c' * 62}" for n, name in marks]


class Site:
    """A site's repository with the overlays, and what people do in it."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        self.folder, self.tools = folder, tools
        shutil.copytree(GITOPS, folder / "gitops")
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("Begin")

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        command = ["git", *who, "-C", str(self.folder), *words]
        return subprocess.run(
            command, check=True, capture_output=True, text=True
        ).stdout

    def commit(self, subject: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", subject)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-P", str(self.folder / "gitops" / "digests.py")]
        return subprocess.run(
            [*program, *words], capture_output=True, text=True, check=False
        )

    def do(self, *words: str) -> None:
        done = self.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        self.commit(" ".join(words[:1]))

    def built(self, environment: str) -> list[dict[str, Any]]:
        """Return what Flux is given for an environment."""
        folder = str(self.folder / "gitops" / environment)
        done = self.tools.run("kubectl", "kustomize", folder)
        assert done.returncode == 0, done.stderr
        return list(yaml.safe_load_all(done.stdout))

    def images(self, environment: str, chart: Path, folder: Path) -> set[str]:
        """Return the images of all pods that Flux would deploy there."""
        documents = self.built(environment)
        release = named(documents, "HelmRelease")["casa"]
        configured = named(documents, "ConfigMap")
        words = []
        for number, source in enumerate(release["spec"]["valuesFrom"]):
            file = folder / f"{environment}-{number}.yaml"
            file.write_text(configured[source["name"]]["data"][source["valuesKey"]])
            words += ["--values", str(file)]
        return {
            container["image"]
            for document in self.tools.render(chart, *words)
            if document["kind"] == "Deployment"
            for container in document["spec"]["template"]["spec"]["containers"]
        }


@pytest.fixture
def site(tools: Tools, tmp_path: Path) -> Site:
    required("git", package="git")
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder, tools)


def complaints(repository: Path, documents: Sequence[dict[str, Any]]) -> str:
    flux = [d for d in documents if "fluxcd" in d["apiVersion"]]
    assert flux
    done = subprocess.run(
        [
            *(required("node", package="nodejs"), "-e", JUDGE),
            *("judge", str(node_modules(repository / ".cache"))),
        ],
        input=json.dumps(flux),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_flux_takes_every_object(site: Site, repository: Path) -> None:
    cluster = list(yaml.safe_load_all((GITOPS / "cluster.yaml").read_text()))
    for documents in (cluster, site.built("staging"), site.built("production")):
        assert complaints(repository, documents) == ""


def test_an_object_that_flux_would_refuse_is_found(
    site: Site, repository: Path
) -> None:
    documents = site.built("staging")
    del named(documents, "HelmRelease")["casa"]["spec"]["interval"]
    assert "interval" in complaints(repository, documents)


def test_the_cluster_follows_folders_that_are_there(repository: Path) -> None:
    cluster = list(yaml.safe_load_all((GITOPS / "cluster.yaml").read_text()))
    paths = {d["spec"]["path"] for d in cluster if d["kind"] == "Kustomization"}
    assert len(paths) == 2
    for path in paths:
        assert (repository / path / "kustomization.yaml").is_file()


def test_nothing_is_deployed_before_something_was_tested(site: Site) -> None:
    done = site.run("check")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2 * len(PARTS)
    assert "record" in done.stdout
    assert site.run("promote").returncode == 1


def test_what_was_tested_is_what_staging_and_then_production_deploy(
    site: Site, chart: Path, tmp_path: Path
) -> None:
    site.do("record", *digests("a"))
    assert site.run("check").stdout.startswith("production")  # has nothing yet
    site.do("promote")
    assert site.run("check").returncode == 0
    site.do("record", *digests("b"))
    assert (
        site.run("check").returncode == 0
    )  # production lags behind, tested all the same
    recorded = {one.partition("=")[2] for one in digests("b")[1:]}
    deployed = site.images("staging", chart, tmp_path)
    assert {image.partition("@")[2] for image in deployed} == recorded
    old = {one.partition("=")[2] for one in digests("a")[1:]}
    deployed = site.images("production", chart, tmp_path)
    assert {image.partition("@")[2] for image in deployed} == old
    for environment, first in (("staging", "b"), ("production", "a")):
        source = named(site.built(environment), "OCIRepository")["casa-chart"]
        assert f"chart={source['spec']['ref']['digest']}" in digests(first)


def test_promotion_and_rollback_are_a_commit_each(site: Site) -> None:
    site.do("record", *digests("a"))
    site.do("promote")
    before = site.built("production")
    site.do("record", *digests("b"))
    site.do("promote")
    after = site.built("production")
    assert after != before
    assert after != site.built("staging")  # its own namespace and values
    # values under another name, so that Flux sees another release
    names = [set(named(documents, "ConfigMap")) for documents in (before, after)]
    assert not names[0] & names[1]
    site.git("revert", "--no-edit", "HEAD")
    assert site.built("production") == before
    assert site.run("check").returncode == 0


@pytest.mark.parametrize("environment", ["staging", "production"])
def test_a_digest_that_no_test_passed_is_found_by_name(
    site: Site, environment: str
) -> None:
    site.do("record", *digests("a"))
    site.do("promote")
    file = site.folder / "gitops" / environment / "images.yaml"
    file.write_text(file.read_text().replace("sha256:a4", "sha256:f4"))
    done = site.run("check")
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"{environment}: worker would deploy sha256:f4")


def test_staging_that_lags_behind_what_was_tested_is_found(site: Site) -> None:
    site.do("record", *digests("a"))
    site.do("promote")
    site.do("record", *digests("b"))
    site.git("checkout", "--quiet", "HEAD~1", "--", "gitops/staging")
    assert "is newer" in site.run("check").stdout


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("lba=sha256:" + "1" * 64, "no part 'lba'"),
        ("lab=2026.11.0", "lab: '2026.11.0' is no digest"),
        ("lab", "lab: '' is no digest"),
        ("lab=sha256:" + "0" * 64, "is no digest"),
    ],
)
def test_what_is_no_digest_is_not_recorded(site: Site, given: str, said: str) -> None:
    done = site.run("record", given)
    assert done.returncode == 1
    assert said in done.stderr
    assert site.git("status", "--porcelain") == ""


def test_a_file_that_somebody_broke_is_named(site: Site) -> None:
    file = site.folder / "gitops" / "production" / "images.yaml"
    file.write_text("images: [lab\n")
    done = site.run("check")
    assert done.returncode == 1
    assert str(file) in done.stderr
