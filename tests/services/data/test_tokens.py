"""Real servers that want tokens: who gets one, and what happens to a wrong one."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
import uproot

from casa_env import check_access, load_settings, xcache_fileset, xcache_url
from casa_env.errors import CredentialsError
from casa_env.settings import Settings
from casa_env.tokens.bearer import token_for
from fsspec_failover import NoSourceError
from services.data.conftest import Grid
from support import xrootd
from support.rootfiles import BRANCHES
from support.tokens import Issuer
from support.webservers import listening_website


@pytest.fixture(scope="module")
def storage(grid: Grid, tree: bytes) -> Iterator[xrootd.Server]:
    server = grid.token_server("storage")
    xrootd.put(server, "/store/f.root", tree)
    with xrootd.running(server):
        yield server


@pytest.fixture(scope="module")
def foreign(grid: Grid, tree: bytes) -> Iterator[xrootd.Server]:
    """Trusts the same issuer, and is on nobody's list: it would take any token."""
    server = grid.token_server("foreign")
    for path in ("/store/f.root", "/store/elsewhere/f.root"):
        xrootd.put(server, path, tree)
    with xrootd.running(server):
        yield server


@pytest.fixture(autouse=True)
def site(storage: xrootd.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASA_ENV_TOKEN_HOSTS", f"localhost:{storage.port}")
    monkeypatch.setenv("CASA_ENV_TIMEOUT_S", "5")


def address(server: xrootd.Server, scheme: str, path: str = "/store/f.root") -> str:
    return f"{scheme}://localhost:{server.port}/{path}"


def entries(url: str) -> int:
    with uproot.open({xcache_url(url, failover=True): "Events"}) as opened:
        opened.arrays(list(BRANCHES))
        return int(opened.num_entries)


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_with_a_token_files_are_read(
    scheme: str, grid: Grid, storage: xrootd.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", grid.issuer.token())
    check_access({"x": [address(storage, scheme)]})
    assert entries(address(storage, scheme)) == 62_500


@pytest.mark.parametrize("scheme", ["root", "https"])
def test_a_renewed_token_is_used_by_the_next_request(
    scheme: str,
    grid: Grid,
    storage: xrootd.Server,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    file = tmp_path / "token"
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(file))
    file.write_text(grid.issuer.token(scope="storage.read:/other"))
    with pytest.raises(NoSourceError):
        entries(address(storage, scheme))
    file.write_text(grid.issuer.token())
    assert entries(address(storage, scheme)) == 62_500


WRONG = {
    "missing": ("missing", "there is none"),
    "malformed": ("invalid", "RFC 6750"),
    "expired": ("expired", "expired at"),
    "audience": ("audience", "for other services"),
    "scope": ("scope", "does not allow this to be read"),
    "another issuer's": ("refused", "refused the bearer token"),
}


def wrong_token(kind: str, issuer: Issuer) -> str:
    return {
        "missing": "",
        "malformed": "not a token",
        "expired": issuer.token(lifetime_s=-60),
        "audience": issuer.token(audience="https://elsewhere.example.org"),
        "scope": issuer.token(scope="storage.read:/other"),
        "another issuer's": Issuer("https://localhost:1").token(),
    }[kind]


@pytest.mark.fault("token", "each kind of wrong token", "an error of its own")
@pytest.mark.parametrize("scheme", ["root", "https"])
@pytest.mark.parametrize("kind", WRONG)
def test_each_wrong_token_is_a_kind_of_its_own_before_any_worker_starts(
    kind: str,
    scheme: str,
    grid: Grid,
    storage: xrootd.Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = wrong_token(kind, grid.issuer)
    monkeypatch.setenv("BEARER_TOKEN", value)
    expected, words = WRONG[kind]
    with pytest.raises(CredentialsError, match=words) as caught:
        check_access({"x": [address(storage, scheme)]})
    assert caught.value.kind == expected
    assert caught.value.next_step
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize("kind", sorted(set(WRONG) - {"malformed"}))
def test_the_server_itself_refuses_each_wrong_token(
    kind: str, grid: Grid, storage: xrootd.Server
) -> None:
    value = wrong_token(kind, grid.issuer)
    headers = {"Authorization": f"Bearer {value}"} if value else {}
    system = fsspec.filesystem(
        "https",
        client_kwargs={"headers": headers},
        ssl=_context(grid),
        skip_instance_cache=True,
    )
    url = address(storage, "https")
    with pytest.raises(Exception, match="403"):
        system.cat_file(url, 0, 4)


def _context(grid: Grid) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(grid.authority.file))


def test_what_the_site_asks_of_tokens_is_checked_without_a_server(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", grid.issuer.token(audience="https://a.example"))
    listed = load_settings(token_hosts=["localhost:1"])
    fileset = {"x": ["root://localhost:1//store/f.root"]}
    with pytest.raises(CredentialsError, match=r"for https://a.example, and") as caught:
        check_access(fileset, replace(listed, token_audiences=("b.example",)))
    assert caught.value.kind == "audience"
    wants = replace(listed, token_scopes=("storage.read:/store",))
    value = grid.issuer.token(scope="storage.read:/st")
    with pytest.raises(CredentialsError, match=r"lacks the scope storage\.r") as caught:
        check_access(fileset, replace(wants, bearer_token=value))
    assert caught.value.kind == "scope"


def test_files_of_other_hosts_need_no_token() -> None:
    check_access({"x": ["root://localhost:1//f.root", "/local/f.root"]})


def test_a_token_that_ends_soon_is_warned_of(
    grid: Grid,
    storage: xrootd.Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    value = grid.issuer.token(lifetime_s=600)
    monkeypatch.setenv("BEARER_TOKEN", value)
    with caplog.at_level(logging.DEBUG):
        check_access({"x": [address(storage, "root")]})
    (warning,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "expires at" in warning.message
    assert value not in caplog.text


@pytest.mark.fault("security", "a foreign server asks for a token", "it gets none")
@pytest.mark.parametrize("scheme", ["root", "https"])
def test_a_foreign_server_that_would_take_the_token_gets_none(
    scheme: str, grid: Grid, foreign: xrootd.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # it would let us read with any token of the issuer, and does not
    monkeypatch.setenv("BEARER_TOKEN", grid.issuer.token())
    with pytest.raises(NoSourceError, match=r"permission denied|403"):
        entries(address(foreign, scheme))
    # ... and this is how it does for a host on the list
    monkeypatch.setenv("CASA_ENV_TOKEN_HOSTS", f"localhost:{foreign.port}")
    assert entries(address(foreign, scheme)) == 62_500


@pytest.mark.fault("security", "a redirect to another host", "the token stays")
def test_a_redirect_of_a_listed_server_takes_the_token_nowhere(
    grid: Grid, foreign: xrootd.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    redirect = f"xrootd.redirect localhost:{foreign.port} /store/elsewhere"
    monkeypatch.setenv("BEARER_TOKEN", grid.issuer.token())
    redirecting = grid.token_server("redirecting", extra=redirect)
    with xrootd.running(redirecting):
        monkeypatch.setenv("CASA_ENV_TOKEN_HOSTS", f"localhost:{redirecting.port}")
        url = address(redirecting, "root", "/store/elsewhere/f.root")
        with pytest.raises(NoSourceError, match="permission denied"):
            entries(url)
        # XRootD's own client, left alone, does hand it over: the test can fail
        plain = url.replace("localhost", "plain@localhost")
        with uproot.open({plain: "Events"}) as opened:
            assert opened.num_entries == 62_500


def test_a_listening_web_server_sees_the_token_only_if_it_is_listed(
    grid: Grid, tree: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = grid.issuer.token()
    monkeypatch.setenv("BEARER_TOKEN", token)
    with (
        listening_website(grid.certificate, content=tree) as (evil, seen_by_evil),
        listening_website(grid.certificate, redirect_to=f"{evil}/store/f.root") as (
            listed,
            seen_by_listed,
        ),
    ):
        monkeypatch.setenv("CASA_ENV_TOKEN_HOSTS", listed.removeprefix("https://"))
        assert entries(f"{evil}/store/f.root") == 62_500
        assert entries(f"{listed}/store/f.root") == 62_500
    assert len(seen_by_evil) > 2
    assert not [headers for headers in seen_by_evil if "authorization" in headers]
    assert {h["authorization"] for h in seen_by_listed} == {f"Bearer {token}"}


def test_a_token_crosses_no_network_in_clear_text() -> None:
    settings = Settings(bearer_token="x", token_hosts=("a.example", "localhost"))  # noqa: S106 - made up
    assert token_for("http://a.example/f", settings) is None
    assert token_for("https://a.example/f", settings) is not None


@pytest.mark.fault("token", "an expired token, a cache wants one", "the origin serves")
def test_a_cache_that_wants_a_token_is_gone_around_when_it_has_expired(
    grid: Grid,
    storage: xrootd.Server,
    place: Path,
    tree: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", grid.issuer.token(lifetime_s=-1))
    origin = xrootd.origin(place)
    xrootd.put(origin, "/store/f.root", tree)
    with xrootd.running(origin):
        settings = load_settings(
            xcache_url=f"root://localhost:{storage.port}", xcache_mode="fixed"
        )
        url = xcache_url(f"{origin.url}//store/f.root", settings, failover=True)
        with uproot.open({url: "Events"}) as opened:
            assert opened.num_entries == 62_500
        # before the work starts, it is said
        fileset = xcache_fileset({"x": [f"{origin.url}//store/f.root"]}, settings)
        with pytest.raises(CredentialsError) as caught:
            check_access(fileset, settings)
        assert caught.value.kind == "expired"


@pytest.mark.fault(
    "token", "an expired token, no other source", "it is said to be the cause"
)
@pytest.mark.parametrize("scheme", ["root", "https"])
def test_where_no_source_is_left_an_expired_token_is_said_and_is_the_cause(
    scheme: str,
    grid: Grid,
    storage: xrootd.Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BEARER_TOKEN", grid.issuer.token(lifetime_s=-1))
    url = f"failover://{tmp_path}/none.root|{address(storage, scheme)}"
    with pytest.raises(NoSourceError, match="No source delivered") as caught:
        uproot.open({url: "Events"})
    assert "The bearer token expired at" in str(caught.value)
    assert "next step: Get a new token" in str(caught.value)
    assert isinstance(caught.value.__cause__, CredentialsError)
    assert caught.value.__cause__.kind == "expired"
