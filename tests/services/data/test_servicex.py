"""The real ServiceX client, against a stand-in of the service (`support.servicex`)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from coffea.processor import IterativeExecutor

from agc.errors import AnalysisError
from agc.fast.columns import BRANCHES
from agc.fast.servicex import CUT, delivered_fileset, result_fileset
from agc.inputs.filesets import standin_fileset
from agc.served.servicex import servicex_config
from agc.ttbar.runs import run_ttbar
from casa_env import doctor
from casa_env.doctor import Status
from casa_env.errors import CredentialsError
from casa_env.settings import Settings
from services.data.conftest import Serve
from support import xrootd
from support.servicex import ServiceX, servicex_standin
from support.stores import object_store
from support.tokens import Issuer


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceX]:
    with (
        object_store(tmp_path_factory.mktemp("servicex"), "unused") as store,
        servicex_standin(store) as running,
    ):
        yield running


@pytest.fixture
def settings(service: ServiceX, tmp_path: Path) -> Settings:
    token = tmp_path / "servicex-token"
    token.write_text(service.refresh_token)
    return Settings(servicex_endpoint=service.url, servicex_token_file=token)


def test_what_is_delivered_gives_the_same_histograms_to_the_last_bit(  # noqa: PLR0917 - fixtures
    service: ServiceX,
    settings: Settings,
    place: Path,
    serve: Serve,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = Path(".servicex")
    mine.write_text("api_endpoints: []  # the user's own\n")
    local = standin_fileset()
    names = ["wjets__nominal", "single_top_tW__nominal"]
    origin = serve(
        xrootd.origin(place),
        **{name: Path(next(iter(local[name]["files"]))).read_bytes() for name in names},
    )
    fileset = {}
    for name in names:
        url = f"{origin.url}//store/{name}.root"
        nevts = {url: sum(local[name]["nevts"].values())}
        fileset[name] = {**local[name], "files": {url: "Events"}, "nevts": nevts}
    # servicex 3.3.1 leaves event loops and its cache's file open: in its own process
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        work = process.submit(delivered_fileset, fileset, settings)  # type: ignore[arg-type]
        delivered = work.result(300)
    executor = IterativeExecutor(status=False)
    expected = run_ttbar({name: local[name] for name in names}, executor)
    found = run_ttbar(delivered, executor)
    for region, histogram in expected.histograms.items():
        assert np.array_equal(
            histogram.values(flow=True), found.histograms[region].values(flow=True)
        )
    # it was really ServiceX: fewer events, and the cut on the muon's sip3d is in it
    assert 0 < found.metrics.events < expected.metrics.events
    (query, *_) = (request["selection"] for request in service.requests.values())
    assert "(Muon_sip3d < 4.0)" in CUT
    assert "Muon_sip3d < 4.0" in query
    assert all(branch in query for branch in BRANCHES)
    assert mine.read_text() == "api_endpoints: []  # the user's own\n"


def test_without_an_endpoint_or_for_local_files_the_fileset_stays(
    settings: Settings,
) -> None:
    fileset = standin_fileset()
    assert delivered_fileset(fileset, settings) is fileset
    remote = {"x": {**fileset["wjets__nominal"], "files": {"root://o//f": "Events"}}}
    assert delivered_fileset(remote, Settings()) is remote  # type: ignore[arg-type]


def test_generated_events_are_spread_over_what_was_delivered() -> None:
    asked = {
        "x": {"files": {"a": "E", "b": "E"}, "metadata": {}, "nevts": {"a": 5, "b": 2}}
    }
    new = result_fileset(asked, {"x": ["1", "2", "3"]})  # type: ignore[arg-type]
    assert new["x"]["nevts"] == {"1": 3, "2": 2, "3": 2}
    with pytest.raises(AnalysisError, match="nothing of the dataset x"):
        result_fileset(asked, {"x": []})  # type: ignore[arg-type]


def test_the_configuration_is_private_and_gone_afterwards(settings: Settings) -> None:
    with servicex_config(settings) as path:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        assert settings.servicex_endpoint in Path(path).read_text()
    assert not Path(path).exists()


def test_the_bearer_token_goes_to_a_listed_endpoint_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    value = Issuer("https://i.example").token()
    before = tmp_path / "token"
    before.write_text(value)
    monkeypatch.setenv("BEARER_TOKEN_FILE", str(before))
    settings = Settings(
        servicex_endpoint="https://sx.example.org",
        bearer_token_file=before,
        token_hosts=("sx.example.org",),
    )
    with servicex_config(settings):
        assert Path(os.environ["BEARER_TOKEN_FILE"]).read_text() == value
    assert os.environ["BEARER_TOKEN_FILE"] == str(before)
    with servicex_config(replace(settings, token_hosts=())):
        assert "BEARER_TOKEN_FILE" not in os.environ
    assert os.environ["BEARER_TOKEN_FILE"] == str(before)


def test_a_token_file_that_is_missing_is_named(settings: Settings) -> None:
    missing = replace(settings, servicex_token_file=Path("/nonexistent/token"))
    with (
        pytest.raises(CredentialsError, match="cannot be read") as caught,
        servicex_config(missing),
    ):
        pass
    assert "/nonexistent/token" in str(caught.value)
    assert doctor.servicex(missing).status is Status.FAILED


def test_the_doctor_asks_servicex_who_it_is(
    service: ServiceX, settings: Settings, tmp_path: Path
) -> None:
    found = doctor.servicex(settings)
    assert (found.status, "ServiceX stand-in" in found.evidence) == (Status.OK, True)
    assert service.refresh_token not in repr(found)
    wrong = tmp_path / "wrong"
    wrong.write_text("wrong")
    found = doctor.servicex(replace(settings, servicex_token_file=wrong))
    assert (found.status, "401" in found.evidence) == (Status.FAILED, True)
    assert "servicex_token_file" in found.next_step
    assert doctor.servicex(Settings()).status is Status.OFF
