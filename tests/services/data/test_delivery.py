"""Tokens on the workers of a real scheduler: over TLS, renewed, and found nowhere."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uproot
from coffea import processor
from coffea.nanoevents import BaseSchema

from casa_env import dask_client, read_report, xcache_fileset, xcache_url
from casa_env.settings import Settings
from casa_env.tokens.bearer import parse_token, settings_here
from casa_env.workers.delivery import deliver
from casa_env.workers.remote import DELIVERY
from services.data.conftest import Grid, Serve
from support import xrootd
from support.processes import dask_scheduler, running
from support.rootfiles import BRANCHES
from support.search import text_in


@pytest.fixture(scope="module")
def storage(grid: Grid, tree: bytes) -> Iterator[xrootd.Server]:
    server = grid.token_server("delivered")
    xrootd.put(server, "/store/f.root", tree)
    with xrootd.running(server):
        yield server


@pytest.fixture(scope="module")
def cluster_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="module")
def scheduler(
    grid: Grid, cluster_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    server = grid.authority.issue("dask")
    tls = ["--tls-ca-file", str(grid.authority.file)]
    tls += ["--tls-cert", str(server.cert), "--tls-key", str(server.key)]
    with pytest.MonkeyPatch.context() as patch:
        # what a site's worker has: authorities, and a token of somebody else
        patch.setenv("X509_CERT_DIR", str(grid.authorities))
        patch.setenv("BEARER_TOKEN", "a-token-of-the-batch-job")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        patch.setenv("HOME", str(tmp_path_factory.mktemp("worker-home")))
        # the worst case: everything that they say is written down
        patch.setenv("DASK_LOGGING__DISTRIBUTED", "debug")
        with dask_scheduler(cluster_folder, workers=2, tls=tls) as (address, _):
            yield address


@pytest.fixture
def site(
    grid: Grid,
    storage: xrootd.Server,
    scheduler: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    certificate = grid.authority.issue("client")
    for name, value in {
        "DASK_ADDRESS": scheduler,
        "DASK_TLS_CA_FILE": grid.authority.file,
        "DASK_TLS_CERT": certificate.cert,
        "DASK_TLS_KEY": certificate.key,
        "TOKEN_HOSTS": f"localhost:{storage.port}",
    }.items():
        monkeypatch.setenv(f"CASA_ENV_{name}", str(value))


def read_sum(url: str) -> float:
    with uproot.open({url: "Events"}) as opened:
        return float(opened[BRANCHES[0]].array(library="np").sum())


def subject_here() -> str:
    """Return whom the token on this worker stands for."""
    settings = settings_here()
    return parse_token(settings.bearer_token, origin="here").subject


def everything_of(dask_scheduler: Any = None) -> str:
    """Return all that a scheduler knows, as text."""
    return text_in(dask_scheduler)


def wait_until(client: Any, subject: str) -> None:
    deadline = time.monotonic() + 60
    while set(client.run(subject_here).values()) != {subject}:
        assert time.monotonic() < deadline, client.run(subject_here)
        time.sleep(0.2)


@pytest.mark.usefixtures("site")
def test_a_token_reaches_every_worker_is_renewed_there_and_is_found_nowhere(  # noqa: PLR0917 - fixtures
    grid: Grid,
    storage: xrootd.Server,
    cluster_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    file = tmp_path / "token"
    values = [grid.issuer.token(sub="before")]
    file.write_text(values[0])
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(file))
    url = xcache_url(f"root://localhost:{storage.port}//store/f.root", failover=True)
    with dask_client() as client:
        workers = list(client.scheduler_info(n_workers=-1)["workers"])
        assert len(workers) == 2
        assert set(client.run(subject_here).values()) == {"before"}
        sums = client.run(read_sum, url)
        assert len(set(sums.values())) == 1
        # renewed while the cluster runs: the next request on every worker uses it
        values.append(grid.issuer.token(sub="after"))
        file.write_text(values[1])
        wait_until(client, "after")
        assert set(client.run(read_sum, url)) == set(workers)
        # ... and it is the new one, or else this would still be allowed
        values.append(grid.issuer.token(sub="last", scope="storage.read:/other"))
        file.write_text(values[2])
        wait_until(client, "last")
        with pytest.raises(OSError, match="permission denied"):
            client.run(read_sum, url)
        future = client.submit(read_sum, url, pure=False)
        with pytest.raises(OSError, match="permission denied"):
            future.result(60)
        state = client.run_on_scheduler(everything_of)
        report = read_report(client)
        assert report.files
    logs = "".join(p.read_text() for p in cluster_folder.rglob("*.log"))
    assert "tls://" in logs
    assert DELIVERY in logs  # they are at DEBUG: each message is written down
    assert "tls://" in state  # it was really searched
    for value in values:
        for secret in [value, *value.split(".")[1:]]:
            for where in (state, logs, caplog.text, repr(report), str(report)):
                assert secret not in where


@pytest.mark.usefixtures("site")
def test_a_worker_that_starts_later_waits_for_the_token_and_gets_it(
    grid: Grid,
    scheduler: str,
    storage: xrootd.Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    url = xcache_url(f"root://localhost:{storage.port}//store/f.root", failover=True)
    certificate = grid.authority.issue("late")
    options = ["--tls-ca-file", str(grid.authority.file), "--no-dashboard"]
    options += ["--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)]
    options += ["--no-nanny", "--nthreads", "1", "--name", "late"]
    command = [sys.executable, "-m", "dask", "worker", scheduler, *options]
    environ = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "BEARER_TOKEN": "a-token-of-the-batch-job",
    }
    log = tmp_path / "late.log"
    monkeypatch.setenv("BEARER_TOKEN", grid.issuer.token())
    with dask_client() as client, running(command, log=log, environ=environ):
        future = client.submit(read_sum, url, workers="late", pure=False)
        assert future.result(120) > 0


def test_over_tcp_to_another_machine_no_token_is_sent_and_it_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Remote:
        """As much of a client as is looked at before anything is sent."""

        asynchronous = False

        class scheduler:  # noqa: N801 - an attribute
            address = "tcp://dask.example.org:8786"

    deliver(Remote(), Settings(bearer_token="secret", token_hosts=("a",)))  # type: ignore[arg-type] # noqa: S106
    assert "is not TLS" in caplog.text
    assert "secret" not in caplog.text


class Total(processor.ProcessorABC):  # type: ignore[misc] # coffea has no types
    def process(self, events: Any) -> dict[str, float]:
        return {"sum": float(events.a.to_numpy().sum())}

    def postprocess(self, accumulator: Any) -> Any:
        return accumulator


@pytest.mark.usefixtures("site")
def test_dask_workers_fail_over_and_the_report_adds_them_up(
    place: Path, serve: Serve, tree: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASA_ENV_TOKEN_HOSTS", "")
    names = ["f1", "f2", "f3", "f4"]
    origin = serve(xrootd.origin(place), **dict.fromkeys(names, tree))
    down = xrootd.cache(place)
    monkeypatch.setenv("CASA_ENV_XCACHE_URL", down.url)
    files = {f"{origin.url}//store/{name}.root": "Events" for name in names}
    fileset = xcache_fileset({"x": {"files": files}}, failover=True)
    with dask_client() as client:
        read_report(client, reset=True)
        executor = processor.DaskExecutor(client=client, status=False)
        run = processor.Runner(executor, schema=BaseSchema)
        assert run(fileset, Total())["sum"] > 0
        report = read_report(client)
    host = f"127.0.0.1:{origin.port}"
    assert report.files[host] == set(files)
    assert set().union(*report.failovers.values()) == set(files)
    assert f"127.0.0.1:{down.port}" in str(report)
