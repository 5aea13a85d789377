"""Models on their way to a site's Triton server: into a bucket, or a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agc.served.failures import InferenceError
from agc.served.predictor import predictor
from agc.served.repository import publish_models
from agc.ttbar.ml.jet_assignment import AssignmentModels
from agc.ttbar.ml.model_store import MODEL_NAME, model_versions
from casa_env.errors import SettingsError
from casa_env.settings import load_settings
from support.stores import KEY, SECRET, Store, object_store
from support.triton import triton


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    if not Path(sys.executable).with_name("rclone").exists():
        message = "rclone, the object store of the tests, is not installed"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
    with object_store(tmp_path / "store", "models") as running:
        yield running


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_models_go_to_the_bucket_that_the_site_names_and_can_be_served_from_there(
    store: Store,
    repository_of_models: Path,
    jet_models: AssignmentModels,
    tmp_path: Path,
) -> None:
    settings = load_settings(
        s3_endpoint=store.endpoint,
        s3_access_key=KEY,
        s3_secret_key=SECRET,
        triton_repository="s3://models/jets",
    )
    assert publish_models(repository_of_models, settings=settings) == "s3://models/jets"
    published = store.folder / "models" / "jets"
    assert contents(published) == contents(repository_of_models)
    with triton(published, tmp_path / "server") as server:
        version = model_versions(jet_models)[1]
        at = load_settings({}, triton_url=server.grpc, triton_fallback=False)
        assert predictor(MODEL_NAME, version, settings=at).check() == "Triton 2.51.0"


@pytest.mark.fault("store", "a store refuses to publish", "an error without the key")
def test_a_store_that_refuses_us_is_an_error_without_the_key(
    store: Store, repository_of_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    settings = load_settings(s3_endpoint=store.endpoint)
    with pytest.raises(InferenceError, match="cannot be published") as caught:
        publish_models(repository_of_models, "s3://models/jets", settings=settings)
    assert "wrong-secret" not in str(caught.value)


def test_a_folder_will_do(repository_of_models: Path, tmp_path: Path) -> None:
    target = tmp_path / "published"
    publish_models(repository_of_models, str(target), settings=load_settings({}))
    assert contents(target) == contents(repository_of_models)


def test_where_the_site_names_no_place_the_error_says_what_to_set(
    repository_of_models: Path,
) -> None:
    with pytest.raises(SettingsError, match="names no model repository") as caught:
        publish_models(repository_of_models, settings=load_settings({}))
    assert "CASA_ENV_TRITON_REPOSITORY" in caught.value.next_step
