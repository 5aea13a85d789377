"""The ttbar processor on a real Dask cluster gives what one process gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from coffea.processor import DaskExecutor, IterativeExecutor

import casa_env
from agc.errors import AnalysisError, UnreadableFileError
from agc.ttbar.runs import run_ttbar
from support.deadly import Deadly
from support.nanoaod import fileset_of, random_events, write_file

if TYPE_CHECKING:
    from distributed import Client

DATASET = "ttbar__nominal"


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with casa_env.dask_client(workers=2, threads=1) as started:
        yield started


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("nanoaod")
    events = random_events(150)
    return [
        write_file(folder / f"part{i}.root", events[50 * i : 50 * (i + 1)])
        for i in range(3)
    ]


def on_dask(client: Client) -> DaskExecutor:
    return DaskExecutor(client=client, status=False)


@pytest.mark.parametrize("chunksize", [7, 1000])
@pytest.mark.parametrize("order", [1, -1])
def test_dask_workers_give_the_same_bits(
    chunksize: int, order: int, client: Client, files: list[str]
) -> None:
    fileset = fileset_of({DATASET: files[::order], "wjets__nominal": files[:1]})
    here = run_ttbar(fileset, IterativeExecutor(status=False))
    there = run_ttbar(fileset, on_dask(client), chunksize=chunksize)
    assert here.histograms == there.histograms
    assert here.counts["4j2b"].sum().value > 0
    assert there.metrics.events == 200
    assert (there.metrics.chunks > 4) == (chunksize == 7)
    assert there.metrics.bytes_read > 0


@pytest.mark.fault("files", "a damaged file on a worker", "an error that names it")
def test_a_damaged_file_on_a_worker_is_named_here(
    client: Client, files: list[str], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.root"
    bad.write_bytes(Path(files[0]).read_bytes()[:2000])
    fileset: dict[str, Any] = fileset_of({DATASET: [*files, str(bad)]})
    with pytest.raises(UnreadableFileError) as caught:
        run_ttbar(fileset, on_dask(client))
    assert caught.value.file == str(bad)
    skipped = run_ttbar(fileset, on_dask(client), on_bad_file="skip")
    assert list(skipped.bad_files) == [str(bad)]
    alone = run_ttbar(fileset_of({DATASET: files}), on_dask(client))
    assert skipped.histograms == alone.histograms


@pytest.mark.fault("files", "empty trees on workers", "the same result")
def test_empty_trees_on_workers_are_no_error(client: Client, tmp_path: Path) -> None:
    empty = write_file(tmp_path / "empty.root", random_events(3)[:0])
    result = run_ttbar(fileset_of({DATASET: [empty]}), on_dask(client))
    assert result.metrics.events == 0


@pytest.mark.slow
@pytest.mark.fault("clusters", "a piece ends its worker each time", "named, with a way")
def test_a_piece_that_ends_every_worker_is_named(
    client: Client, files: list[str]
) -> None:
    fileset = fileset_of({DATASET: files[:1]})
    deadly = Deadly(25)
    with pytest.raises(AnalysisError, match="Every worker that began") as caught:
        run_ttbar(fileset, on_dask(client), engine=deadly, chunksize=25)
    assert f"events 25 to 50 of {files[0]} died" in str(caught.value)
    assert "CASA_ENV_DASK_WORKER_MEMORY_BYTES" in str(caught.value)
    assert "CHUNK_SIZE" in str(caught.value)
    assert caught.value.__suppress_context__
