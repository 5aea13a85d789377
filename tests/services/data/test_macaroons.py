"""Macaroons of a real XRootD server, asked for with a certificate and narrowed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import uproot

from casa_env import check_access, xcache_url
from casa_env.errors import CredentialsError
from services.data.conftest import Grid
from support import macaroons, xrootd
from support.programs import required


@dataclass(frozen=True)
class Vault:
    """A server that makes macaroons, and alice's on her folder."""

    server: xrootd.Server
    macaroon: str

    def url(self, scheme: str, path: str = "/store/a/f.root") -> str:
        return f"{scheme}://localhost:{self.server.port}/{path}"


@pytest.fixture(scope="module")
def vault(grid: Grid, tree: bytes) -> Iterator[Vault]:
    server = xrootd.with_macaroons(
        grid.folder,
        name="vault",
        certificate=grid.certificate,
        authority=grid.authority.file,
        users={"alice": "/store/a"},
    )
    for path in ("/store/a/f.root", "/store/b/f.root"):
        xrootd.put(server, path, tree)
    with xrootd.running(server):
        yield Vault(server, asked(grid, server, "alice"))


@pytest.fixture(autouse=True)
def site(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASA_ENV_TOKEN_HOSTS", f"localhost:{vault.server.port}")
    monkeypatch.setenv("CASA_ENV_TIMEOUT_S", "5")


def asked(grid: Grid, server: xrootd.Server, user: str) -> str:
    return macaroons.request(
        f"https://localhost:{server.port}/store/a/",
        certificate=grid.authority.issue(user),
        authority=grid.authority.file,
    )


def entries(url: str) -> int:
    with uproot.open({xcache_url(url, failover=True): "Events"}) as opened:
        return int(opened.num_entries)


def answer(
    vault: Vault, grid: Grid, macaroon: str, path: str = "/store/a/f.root"
) -> str:
    """Return what the server says to somebody new: XRootD 5.5.3 goes on trusting a
    connection on which there was a good macaroon."""
    done = subprocess.run(
        [
            *(required("curl", package="curl"), "--silent", "--output", "/dev/null"),
            *("--write-out", "%{http_code}", "--cacert", grid.authority.file),
            *("--header", f"Authorization: Bearer {macaroon}"),
            *("--range", "0-3", vault.url("https", path)),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("scheme", ["https", "root", "roots"])
@pytest.mark.parametrize("caveats", [(), ("path:/store/a/f.root", "activity:DOWNLOAD")])
def test_a_macaroon_reads_what_it_is_for(
    scheme: str,
    caveats: tuple[str, ...],
    vault: Vault,
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    macaroon = macaroons.narrowed(vault.macaroon, *caveats)
    monkeypatch.setenv("BEARER_TOKEN", macaroon)
    check_access({"x": [vault.url(scheme)]})
    assert entries(vault.url(scheme)) == 62_500
    assert answer(vault, grid, macaroon) == "206"


Change = Callable[[str], str]
WRONG: dict[str, tuple[Change, str]] = {
    "expired": (
        lambda one: macaroons.narrowed(one, "before:2026-01-01T00:00:00Z"),
        "expired",
    ),
    "narrowed to another folder": (
        lambda one: macaroons.narrowed(one, "path:/store/a/other"),
        "scope",
    ),
    "narrowed to lists": (
        lambda one: macaroons.narrowed(one, "activity:LIST", "path:/store/none"),
        "scope",
    ),
    "with another path written into it": (
        lambda one: macaroons.tampered(one, "/store/a/", "/store/"),
        "refused",
    ),
    "with another name written into it": (
        lambda one: macaroons.tampered(one, "name:alice", "name:bob"),
        "refused",
    ),
    "that is a text of its own": (lambda _: "bm8tbWFjYXJvb24", "refused"),
}


@pytest.mark.fault("token", "each kind of wrong macaroon", "an error of its own")
@pytest.mark.parametrize("scheme", ["https", "root", "roots"])
@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_macaroon_is_refused_and_it_is_said_why(
    kind: str,
    scheme: str,
    vault: Vault,
    grid: Grid,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    change, expected = WRONG[kind]
    wrong = change(vault.macaroon)
    monkeypatch.setenv("BEARER_TOKEN", wrong)
    with pytest.raises(CredentialsError) as caught:
        check_access({"x": [vault.url(scheme)]})
    assert caught.value.kind == expected
    assert wrong not in str(caught.value)
    assert answer(vault, grid, wrong) == "403"


def test_another_folder_is_not_read(
    vault: Vault, grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", vault.macaroon)
    with pytest.raises(CredentialsError, match="does not allow this"):
        check_access({"x": [vault.url("https", "/store/b/f.root")]})
    assert answer(vault, grid, vault.macaroon, "/store/b/f.root") == "403"


def test_who_has_no_right_gets_no_macaroon_that_reads(grid: Grid, vault: Vault) -> None:
    try:
        macaroon = asked(grid, vault.server, "mallory")
    except subprocess.CalledProcessError:
        return
    assert answer(vault, grid, macaroon) == "403"
