"""What the doctor says about data: evidence, and the exact next step."""

from __future__ import annotations

import datetime as dt
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from casa_env import doctor
from casa_env.doctor import Check, Status
from casa_env.settings import Settings, load_settings
from services.data.conftest import Grid, Serve
from support import xrootd
from support.processes import free_port
from support.tokens import Issuer

ISSUER = Issuer("https://issuer.example.org")


def summary(check: Check) -> tuple[Status, str]:
    return check.status, f"{check.evidence} {check.next_step}"


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("check", [doctor.xcache, doctor.token, doctor.x509])
def test_what_is_not_configured_is_off(check: Callable[[Settings], Check]) -> None:
    found = check(Settings())
    assert found.status is Status.OFF
    assert "CASA_ENV_" in found.next_step


def test_a_cache_must_speak_xrootd(place: Path, serve: Serve, silent: int) -> None:
    cache = serve(xrootd.origin(place))
    settings = Settings(xcache_url=cache.url, timeout_s=0.5)
    assert summary(doctor.xcache(settings))[0] is Status.OK
    found = doctor.xcache(replace(settings, xcache_url=f"root://127.0.0.1:{silent}"))
    assert found.status is Status.FAILED
    assert "does not speak XRootD" in found.evidence
    down = f"root://127.0.0.1:{free_port()}"
    found = doctor.xcache(replace(settings, xcache_fallbacks=(down,)))
    assert found.status is Status.WARNING
    assert "refused" in found.evidence
    assert "next source" in found.next_step
    found = doctor.xcache(Settings(xcache_url="cache"))
    assert "not the URL" in found.evidence


def test_the_tokens_claims_are_shown_and_never_the_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    value = ISSUER.token(scope="storage.read:/store")
    file.write_text(value)
    settings = Settings(bearer_token_file=file, token_hosts=("a",))
    found = doctor.token(settings)
    status, said = summary(found)
    assert status is Status.OK
    for part in ("expires at", "issuer.example.org", "alice", "storage.read:/store"):
        assert part in said
    assert value not in repr(found)
    file.chmod(0o644)
    status, said = summary(doctor.token(settings))
    assert (status, "chmod 600" in said) == (Status.WARNING, True)


@pytest.mark.parametrize(
    ("claims", "settings", "status", "words"),
    [
        ({"lifetime_s": -60}, {}, Status.FAILED, "expired at"),
        ({"lifetime_s": 600}, {}, Status.WARNING, "Get a new token"),
        ({"lifetime_s": 600}, {"hub_token_s": 400.0}, Status.OK, "expires at"),
        ("two words", {}, Status.FAILED, "RFC 6750"),
        ({}, {"token_hosts": ()}, Status.WARNING, "Set token_hosts"),
        ("", {}, Status.FAILED, "BEARER_TOKEN_FILE"),
        ({"audience": "a"}, {"token_audiences": ("b",)}, Status.FAILED, "is b"),
        ({}, {"token_scopes": ("storage.create:/",)}, Status.FAILED, "storage.create"),
    ],
)
def test_a_token_that_will_not_do_is_said_with_the_next_step(
    claims: dict[str, Any] | str, settings: dict[str, Any], status: Status, words: str
) -> None:
    token = claims if isinstance(claims, str) else ISSUER.token(**claims)
    place = replace(Settings(bearer_token=token, token_hosts=("a",)), **settings)  # type: ignore[arg-type]
    found = doctor.token(place)
    assert found.status is status
    assert words in f"{found.evidence} {found.next_step}"
    assert not token or token not in repr(found)


@pytest.mark.fault("token", "a named token file is missing", "the doctor names it")
def test_a_named_token_file_that_is_missing_has_failed(tmp_path: Path) -> None:
    found = doctor.token(Settings(bearer_token_file=tmp_path / "none"))
    assert found.status is Status.FAILED
    assert "not there" in found.evidence


def write_proxy(file: Path, *, minutes: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(minutes=minutes))
        .sign(key, hashes.SHA256())
    )
    file.touch(0o600)
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.mark.fault("token", "an X.509 proxy that has ended", "the doctor says so")
@pytest.mark.parametrize(
    ("minutes", "status"),
    [(120, Status.OK), (10, Status.WARNING), (-10, Status.FAILED)],
)
def test_a_proxy_is_judged_by_its_end(
    minutes: int, status: Status, tmp_path: Path
) -> None:
    file = tmp_path / "proxy.pem"
    write_proxy(file, minutes=minutes)
    found = doctor.x509(Settings(x509_proxy=file))
    assert found.status is status
    assert "CN=alice" in found.evidence
    assert not found.next_step or "new proxy" in found.next_step


@pytest.mark.fault("token", "a file that is no proxy", "the doctor says so")
def test_a_proxy_that_is_none_has_failed(tmp_path: Path) -> None:
    file = tmp_path / "proxy.pem"
    assert "no such file" in doctor.x509(Settings(x509_proxy=file)).evidence
    file.write_text("x")
    found = doctor.x509(Settings(x509_proxy=file))
    assert "holds no certificate" in found.evidence
    assert "voms-proxy-init" in found.next_step


def test_authorities_must_be_where_openssl_looks(grid: Grid, tmp_path: Path) -> None:
    found = doctor.x509(Settings(x509_ca_dir=tmp_path / "none"))
    assert found.status is Status.FAILED
    found = doctor.x509(Settings(x509_ca_dir=tmp_path))
    assert "openssl rehash" in found.next_step
    # XRootD's client knows the ecosystem's variable only
    found = doctor.x509(Settings(x509_ca_dir=grid.authorities))
    assert (found.status, "X509_CERT_DIR=" in found.next_step) == (Status.WARNING, True)
    found = doctor.x509(load_settings())
    assert (found.status, "1 authorities" in found.evidence) == (Status.OK, True)
