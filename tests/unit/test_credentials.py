"""WLCG Bearer Token Discovery v1.0, and who may get what it finds."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from casa_env.errors import CredentialsError
from casa_env.settings import Settings, load_settings
from casa_env.tokens.bearer import (
    _PLACE,
    BearerToken,
    Delivery,
    allows,
    bearer_token,
    may_send_token,
    parse_token,
    reading_options,
    receive,
    require_current,
    settings_here,
    token_for,
    token_value,
)
from fsspec_failover.hooks import Hooks, installed
from support import macaroons
from support.tokens import Issuer, base64url

ISSUER = Issuer("https://issuer.example.org")

#: Characters of RFC 6750's b64token.
B64 = "ABCZabcz0189-._~+/"


class Place:
    """The four places of the discovery, in a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.named = folder / "named"
        self.runtime = folder / "runtime"
        self.tmp = folder / "tmp"
        self.runtime.mkdir()
        self.tmp.mkdir()
        self.name = f"bt_u{os.geteuid()}"

    def set(self, step: int, content: str) -> None:
        if step == 1:
            self._monkeypatch.setenv("BEARER_TOKEN", content)
        elif step == 2:
            self.named.write_text(content)
            self._monkeypatch.setenv("BEARER_TOKEN_FILE", str(self.named))
        elif step == 3:
            (self.runtime / self.name).write_text(content)
            self._monkeypatch.setenv("XDG_RUNTIME_DIR", str(self.runtime))
        else:
            (self.tmp / self.name).write_text(content)

    def found(self, settings: Settings | None = None) -> str | None:
        token = bearer_token(settings, tmp=self.tmp)
        return None if token is None else token.value


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, monkeypatch)


def test_without_any_token_there_is_none(place: Place) -> None:
    assert place.found() is None


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_the_first_step_that_yields_a_token_ends_the_search(
    place: Place, first: int
) -> None:
    for step in range(first, 5):
        place.set(step, f"token-of-step-{step}")
    assert place.found() == f"token-of-step-{first}"


@pytest.mark.parametrize("empty", ["", " \t\n\v\f\r"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_empty_token_goes_on_with_the_next_step(
    place: Place, step: int, empty: str
) -> None:
    place.set(step, empty)
    place.set(step + 1, "next")
    assert place.found() == "next"


@pytest.mark.parametrize("step", [1, 2, 3, 4])
@pytest.mark.parametrize("wrong", ["two words", "=", "a=b", "ä", "\u00a0t", "t\x1c"])
def test_what_is_no_token_ends_the_search_with_an_error(
    place: Place, step: int, wrong: str
) -> None:
    place.set(step, wrong)
    if step < 4:
        place.set(step + 1, "next")
    with pytest.raises(CredentialsError) as caught:
        place.found()
    assert caught.value.kind == "invalid"
    assert wrong not in str(caught.value)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_the_white_space_of_c99_is_stripped_on_both_sides(
    place: Place, step: int
) -> None:
    place.set(step, " \t\n\v\f\rtoken== \t\n\v\f\r")
    assert place.found() == "token=="


def test_a_named_file_that_is_missing_is_an_error_and_not_another_identity(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(place.named))
    place.set(3, "somebody-elses")
    with pytest.raises(CredentialsError, match="not there") as caught:
        place.found()
    assert str(place.named) in str(caught.value)
    assert "BEARER_TOKEN_FILE" in str(caught.value)


def test_the_last_step_is_for_systems_without_a_runtime_folder(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.set(4, "of-tmp")
    assert place.found() == "of-tmp"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(place.runtime))
    assert place.found() is None


def test_a_facilitys_own_path_comes_through_the_settings_and_adds_no_step(
    place: Place, tmp_path: Path
) -> None:
    place.named.write_text("of-the-site")
    site = tmp_path / "config.toml"
    site.write_text(f'bearer_token_file = "{place.named}"\n')
    settings = load_settings({}, home=tmp_path, site_file=site)
    found = bearer_token(settings, environ={}, tmp=place.tmp)
    assert found is not None
    assert found.value == "of-the-site"
    assert str(site) in found.origin
    settings = load_settings({"BEARER_TOKEN": "mine"}, home=tmp_path, site_file=site)
    assert place.found(settings) == "mine"


def test_the_file_is_read_anew_by_each_call(place: Place) -> None:
    place.set(2, "old")
    settings = load_settings()
    assert place.found(settings) == "old"
    place.named.write_text("new")
    assert place.found(settings) == "new"


def test_a_file_that_cannot_be_read_is_an_error(place: Place) -> None:
    (place.tmp / place.name).mkdir()
    with pytest.raises(CredentialsError, match="cannot be read"):
        place.found()


def test_a_file_too_long_for_a_token_is_an_error(place: Place) -> None:
    place.set(2, "x" * 1_000_001)
    with pytest.raises(CredentialsError, match="too long"):
        place.found()


@given(st.text(B64, min_size=1), st.integers(0, 3))
def test_every_b64token_is_accepted_as_it_is(body: str, padding: int) -> None:
    text = body + "=" * padding
    assert parse_token(text, origin="here").value == text


def test_claims_are_decoded(place: Place) -> None:
    place.set(1, ISSUER.token(scope="storage.read:/a compute.read"))
    token = bearer_token(tmp=place.tmp)
    assert token is not None
    assert token.issuer == "https://issuer.example.org"
    assert token.subject == "alice"
    assert token.audience == ("https://wlcg.cern.ch/jwt/v1/any",)
    assert token.scopes == ("storage.read:/a", "compute.read")
    assert token.expires_at is not None
    assert token.origin == "BEARER_TOKEN"


@pytest.mark.parametrize(
    "claims",
    [b"[]", b"nonsense", b'{"exp": true, "aud": 3, "scope": [1]}', b'{"exp": "soon"}'],
)
def test_claims_that_make_no_sense_count_as_not_said(claims: bytes) -> None:
    token = parse_token(f"e30.{base64url(claims)}.x", origin="here")
    assert token == BearerToken(value=token.value, origin="here")


@given(st.binary(max_size=40))
def test_no_claims_make_parsing_fail(claims: bytes) -> None:
    assert parse_token(f"e30.{base64url(claims)}.x", origin="here").origin == "here"


@given(st.integers())
def test_no_time_makes_describing_fail(exp: int) -> None:
    token = parse_token(ISSUER.token(exp=exp), origin="here")
    assert token.described(0.0)


def test_the_value_is_in_no_repr_no_text_and_no_description() -> None:
    value = ISSUER.token()
    token = parse_token(value, origin="here")
    settings = Settings(bearer_token=value)
    shown = [repr(token), str(token), token.described(0.0), repr(settings)]
    for secret in [value, *value.split(".")]:
        assert not [text for text in shown if secret in text]


MACAROON = (
    (b"location", b"CASA"),
    (b"identifier", b"\xff"),
    (b"cid", b"name:alice"),
    (b"cid", b"activity:READ_METADATA,DOWNLOAD,LIST"),
    (b"cid", b"path:/store/a/"),
    (b"cid", b"before:2026-11-28T12:00:00Z"),
)


@pytest.mark.parametrize(
    ("added", "scopes", "ends"),
    [
        ((), ("storage.read:/store/a/",), 1795867200),
        ((b"path:/store/a/b",), ("storage.read:/store/a/b",), 1795867200),
        ((b"before:2026-11-28T11:59:00Z",), ("storage.read:/store/a/",), 1795867140),
        ((b"before:2036-11-28T11:59:00Z",), ("storage.read:/store/a/",), 1795867200),
        ((b"activity:LIST,UPLOAD",), (), 1795867200),
        ((b"activity:DOWNLOAD",), ("storage.read:/store/a/",), 1795867200),
    ],
)
def test_a_macaroons_caveats_are_its_claims(
    added: tuple[bytes, ...], scopes: tuple[str, ...], ends: int
) -> None:
    parts = [
        *MACAROON,
        *((b"cid", one) for one in added),
        (b"signature", b"\x00\n\xfe"),
    ]
    token = parse_token(macaroons.packed(parts), origin="here")
    assert (token.scopes, token.expires_at) == (scopes, ends)
    assert (token.issuer, token.subject) == ("CASA", "alice")


@given(st.lists(st.binary(max_size=20).map(lambda one: (b"cid", one))))
@example([(b"cid", b"before:2026-01-01"), (b"cid", b"before:2026-01-01T00:00:00Z")])
@example([(b"cid", b"before:0001-01-01")])
def test_no_caveats_make_parsing_fail(parts: list[tuple[bytes, bytes]]) -> None:
    assert parse_token(macaroons.packed(parts) or "x", origin="here").origin == "here"


def test_claims_cannot_steer_a_terminal() -> None:
    token = parse_token(ISSUER.token(sub="\x1b[2J"), origin="here")
    assert token.subject == "?[2J"


def test_an_expired_token_is_found_but_not_to_be_sent() -> None:
    value = ISSUER.token(lifetime_s=-60)
    settings = Settings(bearer_token=value, token_hosts=("storage.example.org",))
    assert bearer_token(settings) is not None
    with pytest.raises(CredentialsError) as caught:
        token_for("root://storage.example.org//f", settings)
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - just made
    assert error.kind == "expired"
    assert "expired at" in str(error)
    assert value not in str(error)


def test_a_token_of_the_future_is_not_to_be_used() -> None:
    token = parse_token(
        ISSUER.token(nbf=2_000_000_000, exp=2_100_000_000), origin="here"
    )
    with pytest.raises(CredentialsError, match="only from") as caught:
        require_current(token, 1_900_000_000.0)
    assert caught.value.kind == "invalid"


@pytest.mark.parametrize(
    ("url", "may"),
    [
        ("root://storage.example.org//store/f.root", True),
        ("root://user@STORAGE.example.org.:1094//f", True),
        ("https://storage.example.org/f", True),
        ("storage.example.org", True),
        ("storage.example.org:1094", True),
        ("https://eos.example.org:8443/f", True),
        ("https://eos.example.org/f", False),
        ("https://a.site.example.org/f", True),
        ("https://site.example.org/f", False),
        ("https://evil-site.example.org/f", False),
        ("https://[::1]:443/f", True),
        ("https://storage.example.org.evil.example/f", False),
        ("https://storage.example.org@evil.example/f", False),
        ("https://evil.example/storage.example.org", False),
        ("root://evil.example//root://storage.example.org//f", False),
        ("/store/f.root", False),
        ("file:///store/f.root", False),
        ("https://storage.example.org:port/f", False),
        ("", False),
    ],
)
def test_tokens_go_only_to_hosts_on_the_list(url: str, may: bool) -> None:  # noqa: FBT001 - a table
    listed = ("storage.example.org", "eos.example.org:8443", ".site.example.org", "::1")
    settings = Settings(token_hosts=(*listed, "[::1]", "https://", "a b/c"))
    assert may_send_token(url, settings) is may
    assert not may_send_token(url, Settings())


@pytest.mark.parametrize(
    ("action", "path", "allowed"),
    [
        ("storage.read", "/store", True),
        ("storage.read", "//store/f", True),
        ("storage.read", "/store/../f", False),
        ("storage.read", "/s", False),
        ("storage.read", "/store2/f", False),
        ("storage.create", "/store/f", False),
        ("storage.stage", "/anything", True),
        ("storage.stage", "", True),
    ],
)
def test_a_scope_covers_all_that_is_below_its_path(
    action: str,
    path: str,
    allowed: bool,  # noqa: FBT001 - a table
) -> None:
    scopes = ("storage.read:/store/", "storage.stage")
    token = BearerToken(value="x", origin="here", scopes=scopes)
    assert allows(token, action, path) is allowed


def test_there_is_no_token_for_a_host_that_is_not_listed() -> None:
    settings = Settings(bearer_token=ISSUER.token(), token_hosts=("a.example.org",))
    assert token_for("https://b.example.org/f", settings) is None
    assert token_for("https://a.example.org/f", settings) is not None


def test_a_worker_reads_with_what_its_client_delivered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("casa_env.tokens.bearer._PLACE", type(_PLACE)())
    monkeypatch.setenv("CASA_ENV_TOKEN_HOSTS", "a.example.org")
    assert token_value("https://a.example.org/f") is None
    token = parse_token(ISSUER.token(), origin="the client")
    delivery = Delivery(token=token, settings={"timeout_s": 7.0})
    receive(delivery)
    assert settings_here().timeout_s == 7
    assert token_value("https://a.example.org/f") == token.value
    assert token_value("https://b.example.org/f") is None
    assert repr(delivery) == "Delivery()"


def test_files_are_read_with_these_two_functions() -> None:
    assert installed() == Hooks(token_for=token_value, options_for=reading_options)
    settings = Settings(timeout_s=3.0, s3_endpoint="https://s3.example.org")
    assert reading_options("root://a//f", settings) == {
        "timeout_s": 3.0,
        "ca_dir": None,
    }
    assert "client_kwargs" in reading_options("s3://bucket/f", settings)["s3"]
