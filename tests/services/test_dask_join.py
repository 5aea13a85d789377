from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import dask
import pytest

from casa_env import dask_client, dask_cluster
from casa_env.errors import ClusterError
from support.certificates import Authority
from support.processes import dask_scheduler, free_port, kill_group


@pytest.fixture(scope="module")
def tcp_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_scheduler(tmp_path_factory.mktemp("tcp")) as (address, _):
        yield address


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "site")


@pytest.fixture(scope="module")
def tls_address(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    server = authority.issue("server")
    tls = ["--tls-ca-file", str(authority.file)]
    tls += ["--tls-cert", str(server.cert), "--tls-key", str(server.key)]
    with dask_scheduler(tmp_path_factory.mktemp("tls"), tls=tls) as (address, _):
        yield address


@pytest.fixture
def certificates(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    client = authority.issue("client")
    monkeypatch.setenv("CASA_ENV_DASK_TLS_CA_FILE", str(authority.file))
    monkeypatch.setenv("CASA_ENV_DASK_TLS_CERT", str(client.cert))
    monkeypatch.setenv("CASA_ENV_DASK_TLS_KEY", str(client.key))
    return monkeypatch


def test_a_scheduler_is_joined_by_its_address(tcp_address: str) -> None:
    with dask_client(address=tcp_address) as client:
        assert client.submit(sum, [1, 2]).result() == 3
        assert client.cluster is None


def test_a_scheduler_is_joined_by_dasks_own_variable(
    tcp_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", tcp_address)
    with dask_client() as client:
        assert client.submit(sum, [1, 2]).result() == 3


def test_a_joined_scheduler_and_its_workers_outlive_the_client(
    tcp_address: str,
) -> None:
    for _ in range(2):
        with dask_client(address=tcp_address) as client:
            assert len(client.nthreads()) == 1


def test_an_asynchronous_client_joins_too(tcp_address: str) -> None:
    async def compute() -> int:
        async with dask_client(address=tcp_address, asynchronous=True) as client:
            result: int = await client.submit(sum, [1, 2])
            return result

    assert asyncio.run(compute()) == 3


def test_there_is_no_cluster_to_start_where_one_is_joined(tcp_address: str) -> None:
    with pytest.raises(ClusterError, match="already there") as caught:
        dask_cluster(backend="join")
    assert "dask_client()" in caught.value.next_step
    with dask_client(address=tcp_address) as client:
        assert client.nthreads()


@pytest.mark.fault("dask", "what is no scheduler's address", "refused at once")
@pytest.mark.parametrize(
    "address", ["", "dask", "dask:port", "http://dask:1", "tcp://x"]
)
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    began = time.monotonic()
    with pytest.raises(ClusterError, match="not a scheduler's address"):
        dask_client(backend="join", address=address)
    assert time.monotonic() - began < 5


@pytest.mark.fault(
    "dask", "nothing listens at the scheduler's address", "an error in time"
)
def test_a_dead_address_is_an_error_within_the_time_out() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    began = time.monotonic()
    with pytest.raises(ClusterError) as caught:
        dask_client(address=address, timeout=1)
    assert time.monotonic() - began < 10
    assert address in caught.value.looked_at
    assert "argument" in caught.value.looked_at
    assert "refused" in caught.value.looked_at


@pytest.mark.fault("dask", "a scheduler that never answers", "an error in time")
def test_a_server_that_never_answers_is_an_error_within_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ClusterError) as caught:
            dask_client(address=address, timeout=1)
        assert time.monotonic() - began < 10
    assert "it accepts connections, but" in caught.value.looked_at


@pytest.mark.fault("dask", "a scheduler is killed", "the next client has an error")
def test_a_scheduler_that_is_killed_does_not_hang_the_next_client(
    tmp_path: Path,
) -> None:
    with dask_scheduler(tmp_path, workers=0) as (address, process):
        with dask_client(address=address) as client:
            assert client.nthreads() == {}
        kill_group(process)
        with pytest.raises(ClusterError, match="was not joined within 1 s"):
            dask_client(address=address, timeout=1)


@pytest.mark.fault("dask", "a scheduler is killed at work", "the work fails in time")
def test_a_scheduler_that_is_killed_at_work_fails_the_work_in_bounded_time(
    tmp_path: Path,
) -> None:
    with dask_scheduler(tmp_path) as (address, process):
        client = dask_client(address=address, timeout=1)
        future = client.submit(time.sleep, 600)
        kill_group(process)
        with pytest.raises(CancelledError):
            future.result(timeout=30)
        client.close()


def test_tls_works_with_the_certificates_of_the_settings(
    tls_address: str, certificates: pytest.MonkeyPatch
) -> None:
    certificates.setenv("CASA_ENV_DASK_ADDRESS", tls_address)
    with dask_client() as client:
        assert client.submit(sum, [1, 2]).result() == 3
        assert client.scheduler.address.startswith("tls://")


def test_tls_works_with_the_certificates_of_dasks_configuration(
    tls_address: str, authority: Authority
) -> None:
    files = authority.issue("configured")
    tls = {
        "distributed.comm.tls.ca-file": str(authority.file),
        "distributed.comm.tls.client.cert": str(files.cert),
        "distributed.comm.tls.client.key": str(files.key),
    }
    with dask.config.set(tls), dask_client(address=tls_address) as client:
        assert client.submit(sum, [1, 2]).result() == 3


@pytest.mark.fault("dask", "TLS without certificates", "an error that names them")
def test_tls_without_certificates_says_which_are_missing(tls_address: str) -> None:
    with pytest.raises(ClusterError, match="dask_tls_ca_file and dask_tls_cert"):
        dask_client(address=tls_address)


@pytest.mark.fault("dask", "a certificate's file is missing", "an error that names it")
def test_a_certificate_file_that_is_not_there_is_named(
    tls_address: str, certificates: pytest.MonkeyPatch
) -> None:
    certificates.setenv("CASA_ENV_DASK_TLS_KEY", "/nonexistent/key.pem")
    with pytest.raises(ClusterError, match="dask_tls_key") as caught:
        dask_client(address=tls_address)
    assert caught.value.looked_at == (
        "/nonexistent/key.pem, from CASA_ENV_DASK_TLS_KEY"
    )


@pytest.mark.fault("dask", "a client of another authority", "refused in time")
def test_a_certificate_of_another_authority_is_refused_in_bounded_time(
    tls_address: str, certificates: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger").issue("client")
    certificates.setenv("CASA_ENV_DASK_TLS_CERT", str(stranger.cert))
    certificates.setenv("CASA_ENV_DASK_TLS_KEY", str(stranger.key))
    with pytest.raises(ClusterError) as caught:
        dask_client(address=tls_address, timeout=2)
    assert tls_address in caught.value.looked_at


@pytest.mark.fault("dask", "a scheduler of another authority", "not trusted")
def test_a_server_of_another_authority_is_not_trusted(
    tls_address: str, certificates: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger")
    certificates.setenv("CASA_ENV_DASK_TLS_CA_FILE", str(stranger.file))
    with pytest.raises(ClusterError, match="was not joined"):
        dask_client(address=tls_address, timeout=2)


@pytest.mark.fault("dask", "plain TCP to a TLS scheduler", "refused")
def test_plain_tcp_to_a_tls_scheduler_is_refused(tls_address: str) -> None:
    with pytest.raises(ClusterError, match="was not joined"):
        dask_client(address=tls_address.replace("tls:", "tcp:"), timeout=2)
