"""The contract's checks of files, packages and keys; of servers: tests/services."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import dask
import pytest

from casa_env import load_settings
from support.certificates import Authority

BROKEN = pytest.fail.Exception


@pytest.fixture(scope="module")
def contract(repository: Path) -> Any:
    """Return the contract's tests, which are called here one by one."""
    sys.path.insert(0, str(repository / "environment" / "contract"))
    try:
        return import_module("test_contract")
    finally:
        sys.path.pop(0)


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


def test_a_token_that_is_good_will_do(contract: Any, token_file: Path) -> None:
    assert token_file.is_file()
    contract.test_token(load_settings())


@pytest.mark.parametrize(
    ("content", "mode", "problem"),
    [
        ("", 0o600, "it is empty"),
        (token_text(ends=1.0), 0o600, "it ended"),
        ("good", 0o604, "others can read it"),
    ],
)
def test_a_token_that_will_not_do_is_found(
    contract: Any, token_file: Path, content: str, mode: int, problem: str
) -> None:
    token_file.write_text(content)
    token_file.chmod(mode)
    with pytest.raises(BROKEN, match=problem) as caught:
        contract.test_token(load_settings())
    assert "next step: Let the hub write" in str(caught.value)
    assert not content or content not in str(caught.value)


def test_a_token_file_that_is_not_there_is_named(
    contract: Any, token_file: Path
) -> None:
    token_file.unlink()
    with pytest.raises(BROKEN, match=str(token_file)):
        contract.test_token(load_settings())


def test_a_token_in_a_variable_hides_the_file(
    contract: Any, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", token_file.read_text())
    with pytest.raises(BROKEN, match="BEARER_TOKEN will not do"):
        contract.test_token(load_settings())


def test_without_a_token_the_check_is_off(contract: Any) -> None:
    with pytest.raises(pytest.skip.Exception, match="bearer_token_file is not set"):
        contract.test_token(load_settings())


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    authority = Authority(tmp_path, "site")
    files = authority.issue("dask")
    monkeypatch.setenv("CASA_ENV_DASK_TLS_CA_FILE", str(authority.file))
    monkeypatch.setenv("CASA_ENV_DASK_TLS_CERT", str(files.cert))
    monkeypatch.setenv("CASA_ENV_DASK_TLS_KEY", str(files.key))
    return tmp_path


def test_certificates_that_fit_are_ok(contract: Any, tls: Path) -> None:
    assert tls.is_dir()
    contract.test_certificates(load_settings())


def test_a_key_of_another_certificate_is_found(
    contract: Any, tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tls, "other").issue("other")
    monkeypatch.setenv("CASA_ENV_DASK_TLS_KEY", str(other.key))
    with pytest.raises(BROKEN, match="mismatch"):
        contract.test_certificates(load_settings())


def test_a_certificate_of_another_authority_is_found(
    contract: Any, tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Authority(tls, "other")
    monkeypatch.setenv("CASA_ENV_DASK_TLS_CA_FILE", str(other.file))
    with pytest.raises(BROKEN, match="unable to get local issuer"):
        contract.test_certificates(load_settings())


def test_a_certificate_without_its_key_is_found(
    contract: Any, tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tls.is_dir()
    monkeypatch.delenv("CASA_ENV_DASK_TLS_KEY")
    with pytest.raises(BROKEN, match="dask_tls_key is not set"):
        contract.test_certificates(load_settings())


def test_a_folder_of_the_grid_without_authorities_is_found(
    contract: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("X509_CERT_DIR", str(tmp_path))
    with pytest.raises(BROKEN, match="no hashed authority"):
        contract.test_certificates(load_settings())
    (tmp_path / "5168735f.0").touch()
    contract.test_certificates(load_settings())


def test_a_system_that_trusts_nobody_is_found(
    contract: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty.pem"
    empty.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(BROKEN, match="no certificate authority"):
        contract.test_certificates(load_settings())


def test_a_home_that_group_0_cannot_write_is_found(
    contract: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BROKEN, match="group 0 cannot"):
        contract.test_uid()


def test_a_home_that_is_not_there_is_found(
    contract: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/nonexistent")
    with pytest.raises(BROKEN, match="which is no home"):
        contract.test_uid()


@pytest.fixture(scope="module")
def here() -> dict[str, Any]:
    """Return what `casa-env info --json` prints here."""
    words = [sys.executable, "-m", "casa_env", "info", "--json"]
    return dict(json.loads(subprocess.check_output(words)))


@pytest.fixture
def peer(tmp_path: Path, here: dict[str, Any]) -> Callable[..., Path]:
    """Return a function that writes what the other image's information says."""

    def write(packages: dict[str, str], python: str | None = None) -> Path:
        path = tmp_path / "worker.json"
        content = {"python": python or here["python"], "packages": packages}
        path.write_text(json.dumps(content))
        return path

    return write


def test_a_worker_with_fewer_packages_does_not_differ(
    contract: Any, here: dict[str, Any], peer: Callable[..., Path]
) -> None:
    contract.test_pins(peer(dict(list(here["packages"].items())[:50])))


@pytest.mark.parametrize(
    ("packages", "python", "named"),
    [
        ({"numpy": "1.0"}, None, "numpy"),
        ({"no-such-package": "1.0"}, None, "no-such-package missing here"),
        ({}, "3.9.1 CPython", "Python"),
    ],
)
def test_a_worker_that_differs_is_found(
    contract: Any,
    peer: Callable[..., Path],
    packages: dict[str, str],
    python: str | None,
    named: str,
) -> None:
    with pytest.raises(BROKEN, match=named):
        contract.test_pins(peer(packages, python))


@pytest.mark.parametrize("content", ["", "[]", '{"python": 1}', "no JSON"])
def test_a_file_that_is_no_worker_is_said(
    contract: Any, tmp_path: Path, content: str
) -> None:
    (tmp_path / "worker.json").write_text(content)
    with pytest.raises(BROKEN, match="is not what `casa-env info"):
        contract.test_pins(tmp_path / "worker.json")


def test_a_key_that_nothing_reads_is_found_with_the_one_that_was_meant(
    contract: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("distributed: {worker: {memory: {spil: 0.7}}}\n")
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    with pytest.raises(BROKEN, match=r"distributed\.worker\.memory\.spill\)"):
        contract.test_dask_keys()


def test_a_variable_that_nothing_reads_is_found(
    contract: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask.config, "paths", [str(tmp_path)])
    monkeypatch.setenv("DASK_GATEWAY__ADDRESS", "https://hub.example.org")
    contract.test_dask_keys()
    monkeypatch.setenv("DASK_GATEWAY__ADRESS", "https://hub.example.org")
    with pytest.raises(BROKEN, match=r"gateway\.adress"):
        contract.test_dask_keys()


def test_keys_below_which_anything_may_stand_are_not_found(contract: Any) -> None:
    written = {"distributed": {"logging": {"distributed.worker": "info"}}}
    assert contract.unread(written, [{"distributed": {"version": 2}}]) == []


def test_an_underscore_is_a_hyphen_as_dask_has_it(contract: Any) -> None:
    assert contract.unread({"a": {"b_c": 1}}, [{"a": {"b-c": 2}}]) == []


def test_a_misspelt_key_comes_with_the_one_most_like_it(contract: Any) -> None:
    found = contract.unread(
        {"array": {"slicng": 1}}, [{"array": {"slicing": {"split": None}}}]
    )
    assert found == [("array.slicng", "array.slicing")]
