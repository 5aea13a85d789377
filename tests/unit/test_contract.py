"""The contract's checks of files, packages and keys; of servers: tests/services."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import dask
import pytest

from casa_env.checks import Status
from casa_env.contract import CHECKS, run_contract
from casa_env.dask_contract import dask_keys, unread
from casa_env.errors import CasaEnvError
from casa_env.file_contract import certificates, token
from casa_env.image_contract import pins, uid
from casa_env.settings import load_settings
from casa_env.workers.sameness import environment_here
from support.certificates import Authority


def token_text(*, ends: float) -> str:
    claims = json.dumps({"exp": ends}).encode()
    return f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.x"


@pytest.fixture
def token_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "token"
    path.write_text(token_text(ends=time.time() + 600))
    path.chmod(0o600)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(path))
    return path


def test_a_token_that_is_good_says_for_how_long(token_file: Path) -> None:
    check = token(load_settings(), now=time.time())
    assert check.status is Status.OK
    assert "good for 10 min" in check.evidence
    assert token_file.read_text() not in check.evidence


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        ("", 0o600, "it is empty"),
        (token_text(ends=1.0), 0o600, "it ended"),
        ("good", 0o604, "others can read it"),
    ],
)
def test_a_token_that_will_not_do_is_found(
    token_file: Path, content: str, mode: int, problem: str
) -> None:
    token_file.write_text(content)
    token_file.chmod(mode)
    check = token(load_settings(), now=time.time())
    assert check.status is Status.FAILED
    assert problem in check.evidence


def test_a_token_file_that_is_not_there_is_named(token_file: Path) -> None:
    token_file.unlink()
    check = token(load_settings(), now=time.time())
    assert check.status is Status.FAILED
    assert str(token_file) in check.evidence


def test_a_token_in_a_variable_hides_the_file(
    token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", token_file.read_text())
    check = token(load_settings(), now=time.time())
    assert check.status is Status.FAILED
    assert "BEARER_TOKEN" in check.evidence


def test_without_a_token_the_check_is_off() -> None:
    assert token(load_settings(), now=0.0).status is Status.OFF


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    authority = Authority(tmp_path, "site")
    files = authority.issue("dask")
    monkeypatch.setenv("CASA_ENV_DASK_TLS_CA_FILE", str(authority.file))
    monkeypatch.setenv("CASA_ENV_DASK_TLS_CERT", str(files.cert))
    monkeypatch.setenv("CASA_ENV_DASK_TLS_KEY", str(files.key))
    return tmp_path


def test_certificates_that_fit_are_ok(tls: Path) -> None:
    assert tls.is_dir()
    assert certificates(load_settings()).status is Status.OK


def test_a_key_of_another_certificate_is_found(
    tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tls, "other").issue("other")
    monkeypatch.setenv("CASA_ENV_DASK_TLS_KEY", str(other.key))
    check = certificates(load_settings())
    assert check.status is Status.FAILED
    assert "mismatch" in check.evidence


def test_a_certificate_of_another_authority_is_found(
    tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tls, "other")
    monkeypatch.setenv("CASA_ENV_DASK_TLS_CA_FILE", str(other.file))
    check = certificates(load_settings())
    assert check.status is Status.FAILED
    assert "is not signed by" in check.evidence


def test_a_certificate_without_its_key_is_found(
    tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tls.is_dir()
    monkeypatch.delenv("CASA_ENV_DASK_TLS_KEY")
    assert "dask_tls_key is not set" in certificates(load_settings()).evidence


def test_a_folder_of_the_grid_without_authorities_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X509_CERT_DIR", str(tmp_path))
    check = certificates(load_settings())
    assert check.status is Status.FAILED
    (tmp_path / "5168735f.0").touch()
    assert certificates(load_settings()).status is Status.OK


def test_a_system_that_trusts_nobody_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert "no certificate authority" in certificates(load_settings()).evidence


def test_a_home_that_group_0_cannot_write_is_found(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    check = uid({"HOME": str(tmp_path), "USER": "jovyan"})
    assert check.status is Status.FAILED
    assert "group 0 cannot" in check.evidence


def test_a_home_that_is_not_there_is_found() -> None:
    check = uid({"HOME": "/nonexistent", "USER": "jovyan"})
    assert "which is no home" in check.evidence


def told(packages: dict[str, str], python: str | None = None) -> str:
    python = python or environment_here().python
    return json.dumps({"python": python, "packages": packages})


def test_a_worker_with_fewer_packages_does_not_differ(tmp_path: Path) -> None:
    fewer = dict(environment_here().packages[:50])
    (tmp_path / "worker.json").write_text(told(fewer))
    check = pins(tmp_path / "worker.json")
    assert (check.status, check.evidence[:3]) == (Status.OK, "50 ")


@pytest.mark.parametrize(
    ("packages", "python", "named"),
    [
        ({"numpy": "1.0"}, None, "numpy"),
        ({"no-such-package": "1.0"}, None, "no-such-package missing here"),
        ({}, "3.9.1 CPython", "Python"),
    ],
)
def test_a_worker_that_differs_is_found(
    tmp_path: Path, packages: dict[str, str], python: str | None, named: str
) -> None:
    (tmp_path / "worker.json").write_text(told(packages, python))
    check = pins(tmp_path / "worker.json")
    assert check.status is Status.FAILED
    assert named in check.evidence


@pytest.mark.parametrize("content", ["", "[]", '{"python": 1}', "no JSON"])
def test_a_file_that_is_no_worker_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "worker.json").write_text(content)
    assert "is not what `casa-env info" in pins(tmp_path / "worker.json").evidence


def test_a_key_that_nothing_reads_is_found_with_the_one_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("distributed: {worker: {memory: {spil: 0.7}}}\n")
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    check = dask_keys({})
    assert check.status is Status.FAILED
    assert "distributed.worker.memory.spill)" in check.evidence


def test_a_variable_that_nothing_reads_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    check = dask_keys({"DASK_GATEWAY__ADRESS": "https://hub.example.org"})
    assert "gateway.adress" in check.evidence
    assert dask_keys({"DASK_GATEWAY__ADDRESS": "https://x"}).status is Status.OK


def test_keys_below_which_anything_may_stand_are_not_found() -> None:
    written = {"distributed": {"logging": {"distributed.worker": "info"}}}
    assert unread(written, [{"distributed": {"version": 2}}]) == []


def test_an_underscore_is_a_hyphen_as_dask_has_it() -> None:
    assert unread({"a": {"b_c": 1}}, [{"a": {"b-c": 2}}]) == []


def test_a_check_that_is_not_there_is_an_error_that_lists_them() -> None:
    with pytest.raises(CasaEnvError, match="no check 'port'") as caught:
        run_contract(only=["port"])
    assert all(name in caught.value.next_step for name in CHECKS)
