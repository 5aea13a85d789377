from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
import xgboost

from agc.served.failures import InferenceError
from agc.served.predictor import IN_PROCESS, Predictor, predictor
from agc.served.repository import ModelVersion, write_model_repository
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.jet_assignment import AssignmentModels, best_rows, permutation_scores
from agc.ttbar.ml.model_store import MODEL_NAME, model_versions
from agc.ttbar.ml.scoring import assignment_here, score
from agc.ttbar.permutations import FIRST_PERMUTATION
from casa_env.doctor import triton as triton_check
from casa_env.errors import SettingsError
from casa_env.models.triton import triton_address, triton_client
from casa_env.settings import Settings, load_settings
from support.certificates import Authority
from support.gateways import grpc_gateway, http_gateway
from support.processes import free_port, kill_group
from support.triton import Triton, triton

both = pytest.mark.parametrize("protocol", ["grpc", "http"])


@contextlib.contextmanager
def fails(*kinds: str, match: str | None = None) -> Iterator[pytest.ExceptionInfo[Any]]:
    """Expect an `InferenceError` of one of some kinds."""
    with pytest.raises(InferenceError, match=match) as caught:
        yield caught
    assert caught.value.kind in kinds


def at(url: str, **settings: object) -> Settings:
    options = {"triton_url": url, "triton_fallback": False, "timeout_s": 5, **settings}
    return load_settings({}, **options)  # type: ignore[arg-type]


def on(
    server: Triton, protocol: str, models: AssignmentModels, **settings: object
) -> Predictor:
    url = getattr(server, protocol)
    return predictor(
        MODEL_NAME, model_versions(models)[0], settings=at(url, **settings)
    )


@both
def test_the_native_client_is_handed_over(triton_server: Triton, protocol: str) -> None:
    client = triton_client(url=getattr(triton_server, protocol))
    module = {"grpc": tritonclient.grpc, "http": tritonclient.http}[protocol]
    assert type(client) is module.InferenceServerClient
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL_NAME, "1")
    assert client.is_model_ready(MODEL_NAME, "2")
    client.close()


def test_without_a_server_the_client_is_an_error_that_says_what_to_set() -> None:
    with pytest.raises(SettingsError, match="no Triton server") as caught:
        triton_client(load_settings({}))
    assert "CASA_ENV_TRITON_URL" in caught.value.next_step


@pytest.mark.parametrize(
    ("url", "target", "encrypted"),
    [
        ("grpc://triton:8001", "triton:8001", False),
        ("grpcs://triton", "triton:8001", True),
        ("http://triton", "triton:8000", False),
        ("https://example.org/triton/", "example.org:443/triton", True),
        ("grpc://[::1]:9", "[::1]:9", False),
    ],
)
def test_one_url_says_protocol_encryption_host_and_port(
    url: str, target: str, *, encrypted: bool
) -> None:
    address = triton_address(url)
    assert (address.target, address.encrypted) == (target, encrypted)
    assert address.protocol == ("grpc" if url.startswith("grpc") else "http")


@pytest.mark.parametrize(
    "url", ["triton", "triton:8001", "tcp://x:1", "grpc://x/y", "grpc://x:port", "a@b"]
)
def test_what_is_no_tritons_url_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="not the URL of a Triton server"):
        triton_address(url)


@both
def test_scores_are_the_same_bits_as_in_process_and_so_is_every_best_permutation(
    triton_server: Triton,
    protocol: str,
    jet_models: AssignmentModels,
    standin_features: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    event, n_jets, offsets, rows = standin_features
    here = assignment_here(jet_models, at(getattr(triton_server, protocol)))
    served, report = score(here, event, n_jets, rows)
    assert report.rows == {"Triton 2.51.0": len(rows)}
    local, local_report = score(
        assignment_here(jet_models, load_settings({})), event, n_jets, rows
    )
    assert local_report.rows == {IN_PROCESS: len(rows)}
    one, two = (
        predictor(MODEL_NAME, version, settings=load_settings({})).predict(rows)
        for version in model_versions(jet_models)
    )
    odd = np.repeat(event % 2 == 1, np.diff(FIRST_PERMUTATION)[n_jets])
    xgboost_here = np.where(odd, one, two)
    matrix = xgboost.DMatrix(rows, feature_names=[f.name for f in FEATURES])
    booster = xgboost.Booster(model_file=bytearray(jet_models.trained_on_even))
    other = booster.predict(matrix, output_margin=True)
    with capsys.disabled():
        print(  # noqa: T201 - a figure for people
            f"\n{protocol}: largest difference of scores over {len(rows):,} rows: "
            f"XGBoost on Triton to XGBoost here {np.abs(served - xgboost_here).max()}, "
            f"to bit masks {np.abs(served - local).max()}, "
            f"in place to DMatrix {np.abs(one - other).max()}"
        )
    np.testing.assert_array_equal(served, xgboost_here)
    best, _ = best_rows(offsets, served)
    np.testing.assert_array_equal(best, best_rows(offsets, local)[0])
    masks = permutation_scores(jet_models, event, n_jets, rows)
    np.testing.assert_array_equal(masks, local)


def test_each_version_says_which_events_it_is_for_and_scores_them(
    triton_server: Triton, jet_models: AssignmentModels
) -> None:
    client = triton_client(url=triton_server.http)
    config: Any = client.get_model_config(MODEL_NAME, "1")
    client.close()
    told = {k: v["string_value"] for k, v in config["parameters"].items()}
    assert told["label_1"] == "trained on even events, scores odd events"
    assert told["label_2"] == "trained on odd events, scores even events"
    even, odd = model_versions(jet_models)
    assert even.content == jet_models.trained_on_even
    assert (told["sha256_1"], told["sha256_2"]) == (even.digest, odd.digest)


@both
def test_three_million_rows_are_one_call(
    triton_server: Triton,
    protocol: str,
    jet_models: AssignmentModels,
    standin_features: Any,
) -> None:
    rows = np.resize(standin_features.rows, (3_000_000, len(FEATURES)))
    scorer = on(triton_server, protocol, jet_models)
    scores = scorer.predict(rows)
    scorer.close()
    assert scores.shape == (3_000_000,)
    n = len(standin_features.rows)
    sample = slice(0, 2 * n + 7)
    local = predictor(MODEL_NAME, scorer.model, settings=load_settings({}))
    np.testing.assert_array_equal(scores[sample], local.predict(rows[sample]))
    np.testing.assert_array_equal(scores[-n:], local.predict(rows[-n:]))


def test_many_requests_give_the_same_scores_as_one(
    triton_server: Triton,
    jet_models: AssignmentModels,
    standin_features: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = standin_features.rows[:50_000]
    monkeypatch.setattr("agc.served.predictor.MAX_CALL_BYTES", 10**6)
    for protocol in ("grpc", "http"):
        scorer = on(triton_server, protocol, jet_models)
        local = predictor(MODEL_NAME, scorer.model, settings=load_settings({}))
        np.testing.assert_array_equal(scorer.predict(rows), local.predict(rows))
        scorer.close()


@both
def test_no_rows_are_no_scores(
    triton_server: Triton, protocol: str, jet_models: AssignmentModels
) -> None:
    empty = np.empty((0, len(FEATURES)), np.float32)
    assert on(triton_server, protocol, jet_models).predict(empty).shape == (0,)


@pytest.mark.fault("triton", "features of a wrong shape", "refused here and there")
@both
def test_a_wrong_shape_is_refused_here_and_by_the_server(
    triton_server: Triton, protocol: str, jet_models: AssignmentModels
) -> None:
    scorer = on(triton_server, protocol, jet_models)
    with fails("shape", match=r"not \(rows, 20\)"):
        scorer.predict(np.zeros((3, 19)))
    scorer.check()
    assert scorer._remote is not None
    narrow = np.zeros((3, 19), np.float32)
    with fails("shape", match="does not take these features"):
        scorer._remote.scores(narrow, scorer._served, time.monotonic() + 10)


@both
@pytest.mark.parametrize(("name", "number"), [("no_such_model", 1), (MODEL_NAME, 7)])
def test_an_unknown_model_or_version_has_its_own_error(
    triton_server: Triton,
    protocol: str,
    name: str,
    number: int,
    jet_models: AssignmentModels,
) -> None:
    model = ModelVersion(number=number, label="", content=jet_models.trained_on_odd)
    url = getattr(triton_server, protocol)
    # Allowed or not: to score with another model in silence is no fallback.
    settings = at(url, triton_fallback=True)
    with fails("unknown") as caught:
        predictor(name, model, settings=settings).check()
    assert name in caught.value.looked_at


@pytest.mark.fault("triton", "another model of the same name", "not scored with")
def test_another_model_of_the_same_name_is_not_scored_with(
    triton_server: Triton, jet_models: AssignmentModels
) -> None:
    swapped = ModelVersion(number=1, label="", content=jet_models.trained_on_odd)
    scorer = predictor(MODEL_NAME, swapped, settings=at(triton_server.grpc))
    with fails("mismatch", match="another one than ours"):
        scorer.predict(np.zeros((1, len(FEATURES))))


@pytest.mark.fault(
    "triton", "a wrong token, an expired certificate", "refused, each named"
)
@both
def test_a_token_opens_the_server_a_wrong_one_and_an_expired_certificate_do_not(
    triton_server: Triton,
    protocol: str,
    jet_models: AssignmentModels,
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path, "site")
    gateway = grpc_gateway if protocol == "grpc" else http_gateway
    token = tmp_path / "token"
    token.write_text("right-token")
    rows = np.zeros((10, len(FEATURES)))
    version = model_versions(jet_models)[0]
    options = {
        "triton_ca_file": str(authority.file),
        "bearer_token_file": str(token),
        "token_hosts": ["127.0.0.1"],
    }
    target = getattr(triton_server, protocol)
    with gateway(target, "right-token", certificate=authority.issue("good")) as gate:
        scorer = predictor(MODEL_NAME, version, settings=at(gate.url, **options))
        local = predictor(MODEL_NAME, version, settings=load_settings({}))
        np.testing.assert_array_equal(scorer.predict(rows), local.predict(rows))
        assert set(gate.seen) == {"Bearer right-token"}
        token.write_text("wrong-token")
        with fails("refused", match="refused us") as caught:
            scorer.predict(rows)
        assert "wrong-token" not in str(caught.value)
        untrusting = at(gate.url, **options | {"triton_ca_file": None})
        with fails("certificate", match="not accepted"):
            predictor(MODEL_NAME, version, settings=untrusting).check()
        foreign = at(gate.url, **options | {"token_hosts": ["other.example.org"]})
        with fails("refused"):
            predictor(MODEL_NAME, version, settings=foreign).check()
        assert gate.seen[-1] == ""
    expired = authority.issue("old", expired=True)
    with gateway(target, "right-token", certificate=expired) as gate:
        with fails("certificate", match="expired") as shown:
            predictor(MODEL_NAME, version, settings=at(gate.url, **options)).check()
        assert "certificate" in shown.value.next_step


@pytest.mark.fault("triton", "the server is down", "an error of its own, soon")
@both
def test_a_server_that_is_down_is_told_apart_and_soon(
    protocol: str, jet_models: AssignmentModels
) -> None:
    url = f"{protocol}://127.0.0.1:{free_port()}"
    scorer = predictor(MODEL_NAME, model_versions(jet_models)[0], settings=at(url))
    with fails("lost", match="cannot be reached") as caught:
        scorer.predict(np.zeros((1, len(FEATURES))))
    assert "triton_fallback" in caught.value.next_step


@pytest.mark.fault("triton", "a server that says nothing", "one deadline")
@both
def test_a_server_that_says_nothing_has_one_deadline(
    protocol: str, jet_models: AssignmentModels
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{protocol}://127.0.0.1:{silent.getsockname()[1]}"
        settings = at(url, triton_timeout_s=1.5)
        scorer = predictor(MODEL_NAME, model_versions(jet_models)[0], settings=settings)
        began = time.monotonic()
        with fails("timeout", "lost"):
            scorer.predict(np.zeros((1, len(FEATURES))))
        # Not a timing, but that there is a bound at all: TCP has none.
        assert time.monotonic() - began < 60


@pytest.mark.fault(
    "triton", "the server is killed while it scores", "the same scores, said once"
)
@both
def test_a_server_that_is_killed_is_fallen_back_from_once_and_said_so(  # noqa: PLR0917 - fixtures
    protocol: str,
    jet_models: AssignmentModels,
    repository_of_models: Path,
    standin_features: Any,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = standin_features.rows[:20_000]
    with triton(repository_of_models, tmp_path) as server:
        scorer = on(server, protocol, jet_models, triton_fallback=True)
        strict = on(server, protocol, jet_models)
        before = scorer.predict(rows)
        strict.check()
        assert scorer.place == "Triton 2.51.0"
        kill_group(server.process)
        with caplog.at_level(logging.WARNING):
            after = scorer.predict(rows)
            scorer.predict(rows)
        with fails("lost"):
            strict.predict(rows)
    np.testing.assert_array_equal(before, after)
    assert scorer.place == IN_PROCESS
    assert "cannot be reached" in scorer.fallback
    ours = [r for r in caplog.records if r.name == "agc.served.predictor"]
    assert [record.levelname for record in ours] == ["WARNING"]
    scorer.close()
    strict.close()


def test_a_server_that_starts_anew_is_used_again(
    jet_models: AssignmentModels, repository_of_models: Path, tmp_path: Path
) -> None:
    rows = np.random.default_rng(1).normal(50, 30, (1000, len(FEATURES)))
    ports = free_port(), free_port()
    with triton(repository_of_models, tmp_path / "first", ports=ports) as server:
        scorer = on(server, "grpc", jet_models)
        before = scorer.predict(rows)
    with triton(repository_of_models, tmp_path / "second", ports=ports):
        deadline = time.monotonic() + 60
        kinds = {"lost"}
        while True:  # gRPC waits before it connects again
            try:
                after = scorer.predict(rows)
                break
            except InferenceError as err:
                kinds.add(err.kind)
                assert time.monotonic() < deadline
        assert kinds == {"lost"}
        scorer.close()
    np.testing.assert_array_equal(before, after)


def test_a_repository_is_written_whole_or_not_at_all(
    tmp_path: Path, jet_models: AssignmentModels
) -> None:
    versions = model_versions(jet_models)
    (tmp_path / "other").mkdir()
    for _ in range(2):  # anew over the old one
        write_model_repository(tmp_path, "bdt", versions, n_features=20)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bdt", "other"]
    files = {
        p.relative_to(tmp_path / "bdt").as_posix()
        for p in (tmp_path / "bdt").rglob("*")
        if p.is_file()
    }
    assert files == {
        "config.pbtxt",
        *(f"{n}/{name}" for n in (1, 2) for name in ("model.py", "model.ubj")),
    }
    with pytest.raises(InferenceError, match="not numbered"):
        write_model_repository(
            tmp_path, "bdt", [versions[0], versions[0]], n_features=20
        )


def test_a_gpu_servers_repository_holds_what_fil_reads(
    tmp_path: Path, jet_models: AssignmentModels
) -> None:
    versions = model_versions(jet_models)
    model = write_model_repository(
        tmp_path, "bdt", versions, n_features=20, back_end="fil"
    )
    config = (model / "config.pbtxt").read_text()
    assert 'backend: "fil"' in config
    assert 'value { string_value: "xgboost_json" }' in config
    for version in versions:
        booster = xgboost.Booster(
            model_file=model / str(version.number) / "xgboost.json"
        )
        assert bytes(booster.save_raw("ubj")) == version.content


@both
def test_the_doctor_tells_version_models_and_round_trip(
    triton_server: Triton, protocol: str
) -> None:
    check = triton_check(at(getattr(triton_server, protocol)))
    assert check.status == "ok", check.evidence
    assert "Triton 2.51.0 answered in" in check.evidence
    assert f"ready: {MODEL_NAME} version 1, {MODEL_NAME} version 2" in check.evidence


def test_a_server_without_models_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with triton(tmp_path / "empty", tmp_path / "server") as server:
        check = triton_check(at(server.grpc))
    assert check.status == "warning"
    assert "no model is ready" in check.evidence
    shutil.rmtree(tmp_path / "server")
