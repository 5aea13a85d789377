"""A real object store that refuses wrong keys: reading, and writing what is kept."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import hist
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from casa_env import s3_options, xcache_url
from casa_env.doctor import Status, s3
from casa_env.settings import Settings, load_settings
from support.processes import free_port
from support.stores import KEY, SECRET, Store, object_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with object_store(tmp_path_factory.mktemp("store"), "casa") as running:
        yield running


@pytest.fixture
def settings(store: Store) -> Settings:
    return Settings(
        s3_endpoint=store.endpoint,
        s3_region="us-east-1",
        s3_access_key=KEY,
        s3_secret_key=SECRET,
        timeout_s=5,
    )


def test_a_root_file_is_read_with_the_sites_endpoint_and_key(
    store: Store, settings: Settings, tree: bytes
) -> None:
    store.put("casa/f.root", tree)
    with uproot.open({"s3://casa/f.root": "Events"}, **s3_options(settings)) as opened:
        assert opened.num_entries == 62_500


def test_the_ecosystems_variables_are_enough(
    store: Store, tree: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("casa/g.root", tree)
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    with uproot.open({"s3://casa/g.root": "Events"}, **s3_options()) as opened:
        assert opened.num_entries == 62_500
    # ... and for our own file system, in any process
    url = xcache_url("s3://casa/g.root", failover=True)
    assert url == "failover://s3://casa/g.root"
    with uproot.open({url: "Events"}) as opened:
        assert np.isfinite(opened["a"].array(library="np")).all()


def test_histograms_workspaces_and_skims_are_written_there(
    store: Store, settings: Settings, tmp_path: Path
) -> None:
    options = s3_options(settings)
    histogram = hist.Hist.new.Reg(4, 0, 1, name="x").Weight().fill([0.1, 0.2, 0.9])
    with fsspec.open("s3://casa/out/histogram.pkl", "wb", **options) as file:
        pickle.dump(histogram, file)
    with fsspec.open("s3://casa/out/workspace.json", "wt", **options) as file:
        json.dump({"channels": []}, file)
    table = pa.table({"pt": [1.0, 2.0]})
    with fsspec.open("s3://casa/out/skim.parquet", "wb", **options) as file:
        pq.write_table(table, file)
    # ROOT files are not written from beginning to end, but objects are
    with uproot.recreate(tmp_path / "tree.root") as root:
        root["h"] = histogram
    fsspec.filesystem("s3", **options).put(tmp_path / "tree.root", "casa/out/")
    written = store.folder / "casa" / "out"
    assert pickle.loads((written / "histogram.pkl").read_bytes()) == histogram  # noqa: S301 - just made
    assert json.loads((written / "workspace.json").read_text()) == {"channels": []}
    assert pq.read_table(written / "skim.parquet").equals(table)
    assert uproot.open(written / "tree.root")["h"].to_hist().sum().value == 3


@pytest.mark.fault("store", "a wrong key", "refused; the doctor says so")
@pytest.mark.parametrize("key", ["wrong", ""])
def test_a_wrong_key_is_refused_by_the_store_and_said_by_the_doctor(
    key: str, settings: Settings
) -> None:
    wrong = replace(settings, s3_access_key=key, s3_secret_key="x" if key else "")
    if key:
        with pytest.raises(PermissionError):
            fsspec.filesystem("s3", **s3_options(wrong)).ls("casa")
    found = s3(wrong)
    assert found.status is Status.FAILED
    assert "AWS_ACCESS_KEY_ID" in found.next_step


def test_the_doctor_says_which_store_accepts_the_key(settings: Settings) -> None:
    found = s3(settings)
    assert (found.status, "1 buckets" in found.evidence) == (Status.OK, True)
    assert SECRET not in repr(found)
    assert SECRET not in repr(settings)


@pytest.mark.fault("store", "the store is down", "the doctor says so")
def test_a_store_that_is_down_has_failed(settings: Settings) -> None:
    down = replace(settings, s3_endpoint=f"http://127.0.0.1:{free_port()}")
    assert s3(down).status is Status.FAILED
    assert s3(Settings()).status is Status.OFF


@pytest.mark.fault("security", "a secret in a configuration file", "refused")
def test_a_secret_may_not_stand_in_a_file(tmp_path: Path) -> None:
    site = tmp_path / "config.toml"
    site.write_text('s3_secret_key = "x"\n')
    with pytest.raises(Exception, match="may not stand here"):
        load_settings({}, home=tmp_path, site_file=site)
