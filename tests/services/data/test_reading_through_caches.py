"""Real XRootD servers and caches: what is read from where when one of them is down."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import numpy.typing as npt
import pytest
import uproot
from coffea import processor
from coffea.nanoevents import BaseSchema
from XRootD import client

from agc.inputs.filesets import standin_fileset
from agc.ttbar.runs import run_ttbar
from casa_env import xcache_fileset, xcache_url
from casa_env.settings import Settings
from fsspec_failover import (
    Failover,
    NoSourceError,
    NothingThereError,
    ReadReport,
    report,
)
from fsspec_failover.sources import FILESYSTEMS
from services.data.conftest import Serve
from support import xrootd
from support.programs import required
from support.rootfiles import write_tree


def settings_for(*caches: xrootd.Server, mode: str = "forwarding") -> Settings:
    first, *more = (cache.url for cache in caches)
    return Settings(
        xcache_url=first, xcache_mode=mode, xcache_fallbacks=tuple(more), timeout_s=5
    )


def column(url: str, name: str = "a") -> npt.NDArray[np.float64]:
    with uproot.open({url: "Events"}) as tree:
        found: npt.NDArray[np.float64] = tree[name].array(library="np")
    return found


def host(server: xrootd.Server) -> str:
    return f"127.0.0.1:{server.port}"


def read_from() -> ReadReport:
    return report(reset=True)


def missed_kb(cache: xrootd.Server) -> int:
    """Return what the cache's own record says that it had to get from the origin."""
    tool = required("xrdpfc_print", package="xrootd-server")
    for system in FILESYSTEMS.values():
        system.invalidate_cache()  # it writes an access down when the file is closed
    (record,) = cache.data.rglob("*.cinfo")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        said = subprocess.run(
            [tool, record], capture_output=True, text=True, check=True
        ).stdout
        access = said.partition("B_bypass[kB]")[2].split()
        if access:
            return int(access[-2])
        time.sleep(0.1)
    pytest.fail(f"no access was written down: {said}")


@pytest.fixture
def origin(place: Path, serve: Serve, tree: bytes) -> xrootd.Server:
    return serve(xrootd.origin(place), f=tree)


@pytest.fixture
def expected(tree: bytes, tmp_path: Path) -> npt.NDArray[np.float64]:
    (tmp_path / "f.root").write_bytes(tree)
    return column(str(tmp_path / "f.root"))


@pytest.mark.parametrize("mode", ["forwarding", "fixed"])
def test_the_first_read_fills_the_cache_and_the_second_needs_no_origin(
    mode: str,
    place: Path,
    serve: Serve,
    origin: xrootd.Server,
    expected: npt.NDArray[np.float64],
) -> None:
    fixed = origin if mode == "fixed" else None
    cache = serve(xrootd.cache(place, origin=fixed))
    url = f"{origin.url}//store/f.root"
    through = xcache_url(url, settings_for(cache, mode=mode), failover=True)
    assert np.array_equal(column(through), expected)
    assert set(read_from().files) == {host(cache)}
    assert missed_kb(cache) > 100
    origin.stop()
    assert np.array_equal(column(through), expected)
    assert set(read_from().files) == {host(cache)}


@pytest.mark.fault("cache", "the cache is stopped", "the same, from the origin")
def test_with_the_cache_stopped_the_origin_serves(
    place: Path, origin: xrootd.Server, expected: npt.NDArray[np.float64]
) -> None:
    cache = xrootd.cache(place)
    url = xcache_url(f"{origin.url}//store/f.root", settings_for(cache), failover=True)
    assert np.array_equal(column(url), expected)
    found = read_from()
    assert set(found.files) == {host(origin)}
    assert found.n_bytes[host(origin)] > len(expected) * 8
    (failover,) = found.failovers
    assert failover.failed == host(cache)
    assert host(cache) in str(found)


def test_a_further_cache_is_tried_before_the_origin(
    place: Path, serve: Serve, origin: xrootd.Server
) -> None:
    down, further = xrootd.cache(place, name="down"), serve(xrootd.cache(place))
    url = f"{origin.url}//store/f.root"
    column(xcache_url(url, settings_for(down, further), failover=True))
    assert set(read_from().files) == {host(further)}


@pytest.mark.fault("cache", "the cache dies within a file", "the same content")
def test_a_cache_that_dies_in_the_middle_of_a_file_is_no_loss(
    place: Path, serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "large.root"
    write_tree(file, n_bytes=50_000_000)
    origin = serve(xrootd.origin(place), large=file.read_bytes())
    cache = serve(xrootd.cache(place))
    url = f"{origin.url}//store/large.root"
    through = xcache_url(url, settings_for(cache), failover=True)
    with uproot.open({through: "Events"}) as tree:
        found = [tree["a"].array(library="np")]
        cache.stop()
        found += [tree[name].array(library="np") for name in "bcd"]
    for name, values in zip("abcd", found, strict=True):
        assert np.array_equal(values, column(str(file), name))
    found = read_from()
    assert found.n_bytes[host(cache)] > 10_000_000
    assert found.n_bytes[host(origin)] > 30_000_000
    assert [failover.failed for failover in found.failovers] == [host(cache)]


@pytest.mark.fault("cache", "the cache hangs within a file", "the same, in time")
def test_a_cache_that_hangs_in_the_middle_of_a_file_is_given_up(
    place: Path, serve: Serve, origin: xrootd.Server
) -> None:
    cache = serve(xrootd.cache(place))
    url = f"{origin.url}//store/f.root"
    through = xcache_url(url, settings_for(cache), failover=True)
    with fsspec.open(through) as file:
        assert file.read(4) == b"root"
        cache.signal(signal.SIGSTOP)
        try:
            file.seek(-4, 2)
            file.read()
            content = file.fs.cat_ranges([file.path], [0], [100_000])
        finally:
            cache.signal(signal.SIGCONT)
    assert content[0][:4] == b"root"
    assert Failover(host(cache), "no answer in time") in read_from().failovers


@pytest.fixture
def silent() -> Iterator[tuple[int, list[socket.socket]]]:
    """Give the port of a host that never says a word, and who has called."""
    callers: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            with contextlib.suppress(OSError):  # it is closed at the end
                while True:
                    callers.append(server.accept()[0])

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield server.getsockname()[1], callers
        server.shutdown(socket.SHUT_RDWR)
        thread.join(10)
    for caller in callers:
        caller.close()


@pytest.mark.fault("cache", "a silent host, many files", "one wait for all")
def test_a_silent_host_is_waited_for_once_and_not_once_for_each_file(
    place: Path, serve: Serve, tree: bytes, silent: tuple[int, list[socket.socket]]
) -> None:
    port, callers = silent
    names = [f"f{i}" for i in range(40)]
    origin = serve(xrootd.origin(place), **dict.fromkeys(names, tree[:1000]))
    settings = Settings(xcache_url=f"root://127.0.0.1:{port}")
    for name in names:
        url = f"{origin.url}//store/{name}.root"
        with fsspec.open(xcache_url(url, settings, failover=True)) as file:
            assert file.read(4) == b"root"
    # the client may call again for the first file, but none of the others does
    assert 1 <= len(callers) <= 3
    (failover,) = read_from().failovers
    assert failover.failed == f"127.0.0.1:{port}"


@pytest.mark.fault("cache", "another file of that name", "not mixed in")
def test_a_source_with_another_file_of_that_name_is_not_mixed_in(
    place: Path, serve: Serve, tree: bytes
) -> None:
    origin = serve(xrootd.origin(place), f=tree)
    other = serve(xrootd.origin(place, name="other"), f=tree + b"x")
    with fsspec.open(
        f"failover://{origin.url}//store/f.root|{other.url}//store/f.root"
    ) as file:
        assert file.read(4) == b"root"
        origin.stop()
        with pytest.raises(NoSourceError, match="No source delivered") as caught:
            file.fs.cat_file(file.path, 100_000, 200_000)
    assert "bytes, but" in str(caught.value)


@pytest.mark.fault("cache", "a file that is nowhere", "not found, sources named")
def test_a_file_that_is_nowhere_is_not_found(
    place: Path, serve: Serve, origin: xrootd.Server
) -> None:
    cache = serve(xrootd.cache(place))
    settings = settings_for(cache)
    url = xcache_url(f"{origin.url}//store/none.root", settings, failover=True)
    with pytest.raises(NothingThereError, match="There is no file") as caught:
        column(url)
    assert isinstance(caught.value, FileNotFoundError)
    # and nobody is left alone for that
    found = xcache_url(f"{origin.url}//store/f.root", settings, failover=True)
    read_from()
    column(found)
    assert set(read_from().files) == {host(cache)}


class Adder(processor.ProcessorABC):  # type: ignore[misc] # coffea has no types
    def process(self, events: object) -> dict[str, float]:
        return {"sum": float(np.sum(events.a))}  # type: ignore[attr-defined]

    def postprocess(self, accumulator: object) -> object:
        return accumulator


@pytest.mark.fault("cache", "the cache dies under coffea", "the same result")
def test_coffeas_runner_reads_through_the_cache_and_survives_it(
    place: Path,
    serve: Serve,
    origin: xrootd.Server,
    expected: npt.NDArray[np.float64],
) -> None:
    cache = serve(xrootd.cache(place))
    fileset = {"x": {"files": {f"{origin.url}//store/f.root": "Events"}}}
    through = xcache_fileset(fileset, settings_for(cache), failover=True)
    run = processor.Runner(
        processor.IterativeExecutor(status=False), schema=BaseSchema, chunksize=20_000
    )
    for source in (cache, origin):
        found = run(through, Adder())
        assert found["sum"] == pytest.approx(expected.sum())
        assert host(source) in read_from().files
        cache.stop()


def test_plain_fsspec_reads_text_and_bytes(place: Path, origin: xrootd.Server) -> None:
    xrootd.put(origin, "/store/t.txt", b"one\ntwo\n")
    down = xrootd.cache(place)
    url = xcache_url(f"{origin.url}//store/t.txt", settings_for(down), failover=True)
    with fsspec.open(url, "rt") as file:
        assert file.read().splitlines() == ["one", "two"]
    system, path = fsspec.url_to_fs(url)
    assert system.size(path) == 8
    assert system.exists(path)
    assert system.cat_file(path, -4) == b"two\n"
    assert not system.exists(path.replace("t.txt", "none.txt"))
    with pytest.raises(NotImplementedError, match="read-only"):
        fsspec.open(url, "wb").open()


def test_vectored_reads_stay_vectored(
    place: Path, serve: Serve, origin: xrootd.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = serve(xrootd.cache(place))
    asked: Counter[str] = Counter()
    for name in ("read", "vector_read"):
        whole = getattr(client.File, name)

        def counted(
            *arguments: Any, name: str = name, whole: Any = whole, **options: Any
        ) -> Any:
            asked[name] += 1
            return whole(*arguments, **options)

        monkeypatch.setattr(client.File, name, counted)
    url = f"{origin.url}//store/f.root"
    requests = []
    for where in (url, xcache_url(url, settings_for(cache), failover=True)):
        asked.clear()
        with uproot.open({where: "Events"}) as tree:
            tree.arrays(list("abcd"))
        requests.append(dict(asked))
    plain, ours = requests
    assert plain["vector_read"] > 0
    assert ours == plain


def test_the_ttbar_analysis_reads_through_the_cache_with_the_same_histograms(
    place: Path, serve: Serve
) -> None:
    local = {"wjets__nominal": standin_fileset()["wjets__nominal"]}
    (file,) = local["wjets__nominal"]["files"]
    origin = serve(xrootd.origin(place), w=Path(file).read_bytes())
    cache = serve(xrootd.cache(place))
    url = f"{origin.url}//store/w.root"
    remote: Any = {
        "wjets__nominal": {
            **local["wjets__nominal"],
            "files": {url: "Events"},
            "nevts": {url: local["wjets__nominal"]["nevts"][file]},
        }
    }
    here = xcache_fileset(remote, settings_for(cache), failover=True)
    executor = processor.IterativeExecutor(status=False)
    expected, found = (run_ttbar(fileset, executor) for fileset in (local, here))
    for region, histogram in expected.histograms.items():
        assert np.array_equal(
            histogram.values(flow=True), found.histograms[region].values(flow=True)
        )
    assert set(read_from().files) == {host(cache)}
