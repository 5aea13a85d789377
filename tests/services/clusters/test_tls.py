"""TLS: what a server itself refuses, shown with raw sockets."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from casa_env import load_settings
from casa_env.workers.tls import (
    cluster_security,
    load_security,
    new_session,
    sessions_folder,
)
from support.certificates import Authority, Certificate
from support.processes import dask_scheduler


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "site")


@pytest.fixture(scope="module")
def port(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Return the port of a scheduler that has the site's certificates."""
    server = authority.issue("server")
    tls = ["--tls-ca-file", str(authority.file)]
    tls += ["--tls-cert", str(server.cert), "--tls-key", str(server.key)]
    folder = tmp_path_factory.mktemp("tls")
    with dask_scheduler(folder, workers=0, tls=tls) as (address, _):
        yield int(address.rpartition(":")[2])


def greeting(port: int, ca: Path, certificate: Certificate | None) -> bytes:
    """Return the first bytes that the server sends once the handshake is done.

    With TLS 1.3 a client believes that the handshake went well before the server has
    looked at its certificate: the refusal comes at the first read.
    """
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    if certificate:
        context.load_cert_chain(certificate.cert, certificate.key)
    with (
        socket.create_connection(("127.0.0.1", port), 10) as connection,
        context.wrap_socket(connection) as encrypted,
    ):
        encrypted.settimeout(10)
        return encrypted.recv(64)


def test_a_certificate_of_the_sites_authority_is_greeted(
    port: int, authority: Authority
) -> None:
    assert greeting(port, authority.file, authority.issue("client"))


@pytest.mark.fault(
    "security", "a client without a certificate", "the server refuses it"
)
def test_a_client_without_a_certificate_is_refused_by_the_server_itself(
    port: int, authority: Authority
) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError), match=r"(?i)certificate"):
        greeting(port, authority.file, None)


@pytest.mark.fault("security", "a client of another authority", "the server refuses it")
def test_a_certificate_of_another_authority_is_refused_by_the_server_itself(
    port: int, authority: Authority, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path, "stranger").issue("client")
    with pytest.raises((ssl.SSLError, ConnectionResetError), match=r"(?i)unknown.ca"):
        greeting(port, authority.file, stranger)


def test_two_sessions_do_not_trust_each_other() -> None:
    settings = load_settings()
    one, other = (cluster_security(settings, new_session(settings)) for _ in range(2))
    assert Path(one.tls_ca_file).read_text() != Path(other.tls_ca_file).read_text()
    assert one.require_encryption


def test_certificates_are_found_by_the_schedulers_address_and_by_nothing_else() -> None:
    settings = load_settings()
    session = new_session(settings)
    made = cluster_security(settings, session)
    session.publish("tls://10.0.0.1:4711")
    found = load_security({"address": "tls://10.0.0.1:4711"})
    assert found.tls_client_key == made.tls_client_key
    assert load_security({"address": "tls://10.0.0.1:4712"}) is None
    assert load_security({"address": "tcp://10.0.0.1:4711"}) is None


@pytest.mark.fault("security", "keys of a session that died", "removed by the next")
def test_the_keys_of_a_session_whose_process_is_gone_go_with_the_next_session() -> None:
    code = (
        "from casa_env import load_settings\n"
        "from casa_env.workers.tls import cluster_security, new_session\n"
        "session = new_session(load_settings())\n"
        "cluster_security(load_settings(), session)\n"
        "session.publish('tls://10.0.0.1:4711')\n"
        "(session.logs / 'log').touch()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(list(sessions_folder().glob("*/tls/*"))) == 3
    mine = new_session(load_settings())
    mine.publish("tls://10.0.0.1:4712")
    assert new_session(load_settings()).path.is_dir()
    assert list(sessions_folder().glob("*/tls/*")) == []
    (left,) = sessions_folder().glob("schedulers/*")
    assert left.read_text() == str(mine.path / "tls")
    assert len(list(sessions_folder().glob("*/logs/log"))) == 1
    mine.clear()
    assert not mine.path.exists()  # which has no logs


def test_sessions_that_begin_and_end_at_once_do_not_trip_over_each_other() -> None:
    code = (
        "from casa_env import load_settings\n"
        "from casa_env.workers.tls import new_session\n"
        "settings = load_settings()\n"
        "for _ in range(300): new_session(settings).clear()\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in both] == [0, 0, 0]


def test_the_sites_certificates_are_used_where_its_file_names_them(
    authority: Authority,
) -> None:
    files = authority.issue("worker")
    settings = load_settings(
        dask_tls_ca_file=authority.file,
        dask_tls_cert=files.cert,
        dask_tls_key=files.key,
    )
    security = cluster_security(settings, new_session(settings))
    for role in ("client", "scheduler", "worker"):
        config = security.get_tls_config_for_role(role)
        assert config["ca_file"] == str(authority.file)
        assert (config["cert"], config["key"]) == (str(files.cert), str(files.key))
