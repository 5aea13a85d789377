"""Users outside of a facility: their certificates, and a way in that passes TLS on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509

from casa_env import dask_client
from casa_env.errors import ClusterError
from support.certificates import expired_for
from support.processes import dask_scheduler, free_port, running, wait_for_port
from support.programs import needed

#: What an ingress does that passes TLS through: it looks at the name, and at no more.
PROXY = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 10m
    timeout server 10m
frontend facility
    bind 127.0.0.1:{port}
    tcp-request inspect-delay 5s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    use_backend dask if {{ req.ssl_sni -i localhost }}
backend dask
    server scheduler {scheduler}
"""


@dataclass(frozen=True)
class Facility:
    """Its authority's folder, and the address that users outside know."""

    authority: Path
    address: str
    program: Path

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run the administrator's program."""
        return subprocess.run(
            [sys.executable, str(self.program), *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def user(self, name: str, folder: Path, *options: str) -> Path:
        """Make a user's certificate; return its folder."""
        where = ("--authority", self.authority, "--address", self.address)
        done = self.run("user", name, folder, *where, *options)
        assert done.returncode == 0, done.stderr
        return folder


@pytest.fixture(scope="module")
def facility(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Facility]:
    needed("haproxy", packages="haproxy")
    folder = tmp_path_factory.mktemp("facility")
    program = repository / "environment" / "facility" / "certificates.py"
    port = free_port()
    found = Facility(folder / "authority", f"localhost:{port}", program)
    done = found.run("authority", found.authority)
    assert done.returncode == 0, done.stderr
    secret = found.authority / "secret"
    tls = ["--tls-ca-file", f"{secret}/ca.crt"]
    tls += ["--tls-cert", f"{secret}/tls.crt", "--tls-key", f"{secret}/tls.key"]
    with dask_scheduler(folder, tls=tls) as (address, _):
        configuration = folder / "haproxy.cfg"
        scheduler = address.removeprefix("tls://")
        configuration.write_text(PROXY.format(port=port, scheduler=scheduler))
        path = f"{os.environ['PATH']}:/usr/sbin"
        command = ["env", f"PATH={path}", "haproxy", "-db", "-f", str(configuration)]
        log = folder / "haproxy.log"
        with running(command, log=log) as process:
            wait_for_port(process, port, log=log)
            yield found


def settle(home: Path, user: Path) -> None:
    """Put a user's settings where the guide says."""
    place = home / ".config" / "casa-env"
    place.mkdir(parents=True)
    (place / "config.toml").write_bytes((user / "config.toml").read_bytes())


def test_a_user_outside_computes_with_a_certificate_and_its_settings(
    facility: Facility, clean_environment: Path, tmp_path: Path
) -> None:
    settle(clean_environment, facility.user("alice", tmp_path / "alice"))
    with dask_client() as client:
        assert client.scheduler.address == f"tls://{facility.address}"
        assert client.submit(sum, [1, 2]).result() == 3


def refused(home: Path, user: Path) -> None:
    settle(home, user)
    with pytest.raises(ClusterError) as caught:
        dask_client(timeout=2)
    assert "localhost" in caught.value.looked_at


def test_another_authoritys_user_is_refused(
    facility: Facility, clean_environment: Path, tmp_path: Path
) -> None:
    other = Facility(tmp_path / "other", facility.address, facility.program)
    assert other.run("authority", other.authority).returncode == 0
    user = other.user("alice", tmp_path / "alice")
    (user / "ca.crt").write_bytes((facility.authority / "ca.crt").read_bytes())
    refused(clean_environment, user)


def test_a_certificate_that_has_ended_is_refused(
    facility: Facility, clean_environment: Path, tmp_path: Path
) -> None:
    user = facility.user("alice", tmp_path / "alice")
    ended = expired_for(user / "tls.crt", facility.authority / "ca.key")
    (user / "tls.crt").write_bytes(ended)
    refused(clean_environment, user)


def test_a_users_certificate_does_not_make_a_scheduler(
    facility: Facility, clean_environment: Path, tmp_path: Path
) -> None:
    """Dask compares no host names: with it, one user could pose as the facility."""
    mallory = facility.user("mallory", tmp_path / "mallory")
    tls = ["--tls-ca-file", f"{mallory}/ca.crt"]
    tls += ["--tls-cert", f"{mallory}/tls.crt", "--tls-key", f"{mallory}/tls.key"]
    (tmp_path / "dask").mkdir()
    with dask_scheduler(tmp_path / "dask", workers=0, tls=tls) as (address, _):
        there = address.replace("tls://127.0.0.1", "localhost")
        posed = Facility(facility.authority, there, facility.program)
        refused(clean_environment, posed.user("alice", tmp_path / "alice"))


def test_a_users_certificate_ends_in_a_week_and_only_its_owner_reads_the_key(
    facility: Facility, tmp_path: Path
) -> None:
    user = facility.user("alice", tmp_path / "alice")
    found = x509.load_pem_x509_certificate((user / "tls.crt").read_bytes())
    days = (found.not_valid_after_utc - found.not_valid_before_utc).days
    assert days == 7
    assert found.subject.rfc4514_string() == "CN=alice"
    assert {file.stat().st_mode & 0o777 for file in user.iterdir()} == {0o600}
    assert user.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a b", "new"), "is no name of a user"),
        (("../bob", "new"), "is no name of a user"),
        (("bob", "new", "--days", "3650"), "good for 1 to 90"),
        (("bob", "full"), "has files already: choose an empty folder"),
        (("bob", "new", "--authority", "nowhere"), "make one first"),
        (("bob", "/proc/none"), "cannot be written"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_overwritten(
    words: tuple[str, ...], said: str, facility: Facility, tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "tls.crt").write_text("mine")
    user, folder, *options = words
    where = ("--authority", facility.authority, "--address", facility.address)
    done = facility.run("user", user, tmp_path / folder, *where, *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "full" / "tls.crt").read_text() == "mine"


def test_an_authority_is_not_replaced(facility: Facility) -> None:
    before = (facility.authority / "ca.key").read_bytes()
    assert facility.run("authority", facility.authority).returncode == 1
    assert (facility.authority / "ca.key").read_bytes() == before
