"""The ttbar histograms, bit for bit, wherever the workers are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from coffea.processor import DaskExecutor, IterativeExecutor

from agc.hists.io import save_histograms
from agc.inputs.filesets import ttbar_fileset
from agc.ttbar.runs import run_ttbar
from casa_env import dask_client, run_notebook, ship
from support.certificates import Authority
from support.condor import Condor
from support.gateway import Gateway
from support.processes import dask_scheduler
from support.slurm import Slurm

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        # dask-gateway 2026.3.0 looks for the running loop as asyncio did before 3.12.
        "ignore:There is no current event loop:DeprecationWarning"
    ),
]


def histograms(executor: Any, folder: Path) -> bytes:
    """Return the histograms of the shipped sample, as they are published."""
    result = run_ttbar(ttbar_fileset(0), executor)
    file = folder / "histograms.json"
    save_histograms(result.histograms, file)
    return file.read_bytes()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the histograms that one process gives, without Dask."""
    folder = tmp_path_factory.mktemp("expected")
    return histograms(IterativeExecutor(status=False), folder)


@pytest.fixture
def slurm_site(running_slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the profile of a site with Slurm."""
    for name, value in running_slurm.environ.items():
        monkeypatch.setenv(name, value)
    yield (
        'dask_backend = "slurm"\ndask_interface = "lo"\n'
        'dask_queue = "short"\ndask_workers = 2\n'
    )
    running_slurm.until_empty()


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a site's file, for profiles to be written into."""
    file = tmp_path / "site.toml"
    file.touch()
    monkeypatch.setenv("CASA_ENV_SITE_FILE", str(file))
    return file


def executed(repository: Path, profile: str, folder: Path) -> bytes:
    """Run the notebook as it is in the repository; return its histograms."""
    notebook = repository / "notebooks" / "agc-ttbar.ipynb"
    before = notebook.read_bytes()
    run_notebook(
        notebook,
        parameters={"OUTPUT_FOLDER": str(folder / "results")},
        output=folder / "executed.ipynb",
        profile=profile,
        timeout=500,
    )
    assert notebook.read_bytes() == before
    return (folder / "results" / "histograms.json").read_bytes()


@pytest.fixture
def tls_site(tmp_path: Path) -> Iterator[str]:
    """Return the profile of a site with a TLS scheduler and its own authority."""
    authority = Authority(tmp_path, "site")
    server, client = authority.issue("server"), authority.issue("client")
    tls = ["--tls-ca-file", str(authority.file)]
    tls += ["--tls-cert", str(server.cert), "--tls-key", str(server.key)]
    folder = tmp_path / "scheduler"
    folder.mkdir()
    with dask_scheduler(folder, workers=2, tls=tls) as (address, _):
        yield (
            f'dask_address = "{address}"\ndask_tls_ca_file = "{authority.file}"\n'
            f'dask_tls_cert = "{client.cert}"\ndask_tls_key = "{client.key}"\n'
        )


def test_the_unchanged_notebook_gives_them_on_a_tls_scheduler(
    expected: bytes, repository: Path, tmp_path: Path, profiles: Path, tls_site: str
) -> None:
    profiles.write_text(f"[profile.site]\n{tls_site}")
    assert executed(repository, "site", tmp_path) == expected


def test_the_unchanged_notebook_gives_them_under_slurm(
    expected: bytes, repository: Path, tmp_path: Path, profiles: Path, slurm_site: str
) -> None:
    profiles.write_text(f"[profile.slurm]\n{slurm_site}")
    assert executed(repository, "slurm", tmp_path) == expected


def test_the_unchanged_notebook_gives_them_under_htcondor(
    expected: bytes,
    repository: Path,
    running_condor: Condor,
    condor_site: dict[str, str],
) -> None:
    results = running_condor.home / "results"
    notebook = repository / "notebooks" / "agc-ttbar.ipynb"
    words = ["run", str(notebook), "--output", str(running_condor.home / "n.ipynb")]
    words += ["-p", f"OUTPUT_FOLDER={results}"]
    command = [sys.executable, "-P", "-m", "casa_env", *words]
    running_condor.run(*command, timeout=500, **condor_site)
    assert (results / "histograms.json").read_bytes() == expected


def test_the_unchanged_notebook_gives_them_on_a_gateway(
    expected: bytes,
    repository: Path,
    tmp_path: Path,
    profiles: Path,
    on_gateway: Gateway,
) -> None:
    profiles.write_text(
        f'[profile.gateway]\ndask_gateway_address = "{on_gateway.address}"\n'
        f'dask_gateway_proxy_address = "{on_gateway.proxy_address}"\n'
    )
    assert executed(repository, "gateway", tmp_path) == expected
    assert "GatewayCluster" in (tmp_path / "executed.ipynb").read_text()


def test_its_analysis_gives_them_on_a_laptop(expected: bytes, tmp_path: Path) -> None:
    with dask_client(workers=1, threads=2) as client:
        ship(client, "agc")
        found = histograms(DaskExecutor(client=client, status=False), tmp_path)
    assert found == expected
