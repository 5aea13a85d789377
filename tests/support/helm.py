"""Helm, kubectl and the schemas of Kubernetes, installed once from a lock with hashes.

Helm and kubectl are programs inside a wheel: an archive in it holds a layer, which is
an archive again. They are unpacked, and nothing of that package is imported.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.installed import locked_environment

REPOSITORY = Path(__file__).resolve().parents[2]
LOCK = REPOSITORY / "environment" / "facility-test.lock"
VENV = REPOSITORY / ".cache" / "facility-test"
CHART = REPOSITORY / "environment" / "facility" / "chart"

#: The programs in the layer.
PROGRAMS = {"helm/helm": "helm", "kubectl/kubectl": "kubectl"}

#: The chart's release and namespace in these tests.
RELEASE = NAMESPACE = "casa"


@dataclass(frozen=True)
class Tools:
    """The folder with the programs."""

    folder: Path

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    def run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a program; return how it ended."""
        return subprocess.run(
            [str(self.folder / "bin" / program), *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def render(self, chart: Path, *words: str) -> list[dict[str, Any]]:
        """Return the documents that a chart becomes with some options."""
        done = self.run("helm", "template", RELEASE, str(chart), *_where(), *words)
        assert done.returncode == 0, done.stderr
        return [part for part in yaml.safe_load_all(done.stdout) if part]

    def refusal(self, chart: Path, *words: str) -> str:
        """Return what is said where a chart refuses the options."""
        done = self.run("helm", "template", RELEASE, str(chart), *_where(), *words)
        assert done.returncode != 0, done.stdout
        return done.stderr


def _where() -> Sequence[str]:
    return "--namespace", NAMESPACE


def facility_tools() -> Tools:
    """Return the programs, installed from their lock if need be."""
    programs = VENV / "bin"
    what = "helm and kubectl"
    return Tools(
        locked_environment(LOCK, VENV, what=what, then=lambda: _unpack(programs))
    )


def _unpack(target: Path) -> None:
    """Take the programs out of the wheel that was installed."""
    (archive,) = VENV.glob("lib/python*/site-packages/aws_cdk/*/_jsii/*.jsii.tgz")
    with tarfile.open(archive) as outer:
        (name,) = (n for n in outer.getnames() if n.endswith("lib/layer.zip"))
        layer = outer.extractfile(name)
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            for member, program in PROGRAMS.items():
                with inner.open(member) as source, (target / program).open("wb") as out:
                    shutil.copyfileobj(source, out)
                (target / program).chmod(0o755)


def chart_with_stand_ins(folder: Path) -> Path:
    """Return a copy of the chart in which the charts that it depends on are empty.

    The Zero to JupyterHub and Dask Gateway charts are in no registry that a test
    reaches. Helm wants them there even where their conditions leave them out, so charts
    of the same names and versions stand in for them, with nothing in them.
    """
    copy = folder / "chart"
    shutil.copytree(CHART, copy)
    about = yaml.safe_load((copy / "Chart.yaml").read_text())
    for needed in about["dependencies"]:
        part = copy / "charts" / needed["name"]
        part.mkdir(parents=True)
        stand_in = {
            "apiVersion": "v2",
            "name": needed["name"],
            "version": needed["version"],
            "description": "Stands in for the chart of this name",
        }
        (part / "Chart.yaml").write_text(yaml.safe_dump(stand_in))
        (part / "values.yaml").write_text("{}\n")
    return copy


def named(documents: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Any]:
    """Return the documents of a kind, by name."""
    return {d["metadata"]["name"]: d for d in documents if d["kind"] == kind}
