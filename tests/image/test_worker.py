"""The worker image: it computes for the lab over TLS, and writes to TMPDIR alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.certificates import Authority
from support.images import Container, Images

#: As Apptainer and batch systems run it: anybody, no home, nothing to write but TMPDIR.
BATCH = (
    "--read-only",
    "--tmpfs=/scratch:mode=1777,exec",
    "--env=TMPDIR=/scratch",
    "--env=HOME=/nonexistent",
    "--user=12345:12345",
)

#: What a client does; it prints who computed, and on what.
CLIENT = """
import platform
import casa_env
with casa_env.dask_client() as client:
    def who():
        import awkward, platform
        return platform.node(), awkward.__version__, platform.python_version()
    import awkward
    node, version, python = client.submit(who).result(timeout=60)
    assert client.scheduler.address.startswith("tls://")
    assert (version, python) == (awkward.__version__, platform.python_version())
    print(node)
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make certificates that containers of any uid can read."""
    folder = tmp_path_factory.mktemp("tls")
    authority = Authority(folder, "site")
    authority.issue("dask")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


@pytest.fixture(scope="module")
def scheduler(images: Images, certificates: Path) -> Iterator[tuple[Container, str]]:
    options = (*BATCH, *mounted(certificates))
    words = ["dask", "scheduler", "--protocol", "tls", "--port", "8786", *tls()]
    with images.running(images.worker, words, *options) as started:
        started.wait_for("Scheduler at:")
        yield started, f"tls://{started.address()}:8786"


@pytest.fixture(scope="module")
def worker(
    images: Images, certificates: Path, scheduler: tuple[Container, str]
) -> Iterator[Container]:
    options = (*BATCH, *mounted(certificates))
    words = ["dask", "worker", scheduler[1], "--nthreads", "1", *tls()]
    with images.running(images.worker, words, *options) as started:
        started.wait_for("Registered to:")
        yield started


def mounted(certificates: Path) -> tuple[str, ...]:
    return (f"--volume={certificates}:/tls:ro",)


def tls() -> list[str]:
    files = {"ca-file": "site.pem", "cert": "dask.crt", "key": "dask.key"}
    return [f"--tls-{option}=/tls/{file}" for option, file in files.items()]


def test_a_client_in_lab_computes_on_a_worker_over_tls(
    images: Images,
    certificates: Path,
    scheduler: tuple[Container, str],
    worker: Container,
) -> None:
    variables = {
        "CASA_ENV_DASK_ADDRESS": scheduler[1],
        "CASA_ENV_DASK_TLS_CA_FILE": "/tls/site.pem",
        "CASA_ENV_DASK_TLS_CERT": "/tls/dask.crt",
        "CASA_ENV_DASK_TLS_KEY": "/tls/dask.key",
    }
    printed = images.engine.command(
        *("run", "--rm", f"--network={images.engine.network}"),
        *mounted(certificates),
        *(f"--env={name}={value}" for name, value in variables.items()),
        *(images.lab, "python", "-c", CLIENT),
    )
    assert printed.split()[-1] == worker.inspect()["Config"]["Hostname"]


def test_a_worker_writes_nothing_outside_tmpdir(worker: Container) -> None:
    assert "dask-scratch-space" in worker.execute("ls", "/scratch")
    assert "Read-only file system" not in worker.log()
    assert "Permission denied" not in worker.log()


def test_the_scheduler_is_found_by_dasks_own_variable(
    images: Images, certificates: Path, scheduler: tuple[Container, str]
) -> None:
    variables = {
        "DASK_SCHEDULER_ADDRESS": scheduler[1],
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": "/tls/site.pem",
        "DASK_DISTRIBUTED__COMM__TLS__WORKER__CERT": "/tls/dask.crt",
        "DASK_DISTRIBUTED__COMM__TLS__WORKER__KEY": "/tls/dask.key",
    }
    options = [f"--env={name}={value}" for name, value in variables.items()]
    with images.running(images.worker, (), *mounted(certificates), *options) as other:
        other.wait_for("Registered to:")


def test_notebook_and_worker_have_the_same_packages(images: Images) -> None:
    def packages(image: str) -> dict[str, str]:
        told = json.loads(images.run(image, ["casa-env", "info", "--json"]))
        return dict(told["packages"])

    lab, worker = packages(images.lab), packages(images.worker)
    assert worker.items() <= lab.items()
    assert len(worker) > 100
