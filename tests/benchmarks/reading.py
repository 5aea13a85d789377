"""How fast files are read through our file layer: against plain uproot, same server.

``PYTHONPATH=notebooks:tests python -m benchmarks.reading``
"""

from __future__ import annotations

import socket
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import fsspec
import uproot
from XRootD import client

from agc.fast.columns import BRANCHES as TTBAR
from agc.inputs.filesets import STANDIN_FOLDER
from agc.inputs.rootfiles import load_arrays
from benchmarks.measurement import timed
from benchmarks.verdicts import verdict
from casa_env.data.xcache import xcache_url
from casa_env.settings import Settings
from support import xrootd
from support.rootfiles import BRANCHES, write_tree
from support.webservers import listening_website

#: Our file layer may cost a twentieth.
TARGET = 0.95
#: Within this time, in seconds, reading goes on elsewhere; and files that follow.
FIRST_S = 15.0
FILES = 1000
N_BYTES = 100_000_000
#: Times that each is read, taking turns.
REPEATS = 11


def read(url: str, branches: list[str]) -> dict[str, Any]:
    with uproot.open({url: "Events"}) as tree:
        arrays: dict[str, Any] = tree.arrays(branches, how=dict)
        return arrays


@contextmanager
def counted_requests() -> Any:
    """Count what XRootD's client is asked for while the block lasts."""
    counts = {"read": 0, "vector_read": 0}
    whole = {name: getattr(client.File, name) for name in counts}

    def counting(name: str) -> Callable[..., Any]:
        def request(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return whole[name](*arguments, **options)

        return request

    for name in counts:
        setattr(client.File, name, counting(name))
    try:
        yield counts
    finally:
        for name, function in whole.items():
            setattr(client.File, name, function)


def main() -> None:
    """Print MB/s and requests, plain and through our file layer."""
    with tempfile.TemporaryDirectory(prefix="casa-benchmark-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = xrootd.origin(folder)
        large = folder / "large.root"
        write_tree(large, n_bytes=N_BYTES)
        xrootd.put(server, "/store/large.root", large.read_bytes())
        nano = STANDIN_FOLDER / "ttbar__nominal.root"
        xrootd.put(server, "/store/nano.root", nano.read_bytes())
        with xrootd.running(server):
            cases = {"large": (large, list(BRANCHES)), "nano": (nano, list(TTBAR))}
            for case, (file, branches) in cases.items():
                compare(f"{server.url}//store/{case}.root", file, branches)
            failing_over(f"{server.url}//store/nano.root")
            in_pieces(f"{server.url}//store/nano.root", nano)


def failing_over(url: str) -> None:
    """Print how long a host that says nothing keeps the first file, and the others."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Settings(xcache_url=f"root://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        for i in range(FILES):
            where = xcache_url(f"{url}?file={i}", settings, failover=True)
            with fsspec.open(where) as file:
                file.read(4)
            if i == 0:
                first = time.monotonic() - began
    others = (time.monotonic() - began - first) / (FILES - 1)
    print("a cache that accepts connections and says nothing")
    print(f"  first file  {first:6.2f} s  {verdict(first, FIRST_S, at_most=True)}")
    print(f"  each of {FILES - 1} others  {1000 * others:6.1f} ms")


def in_pieces(url: str, file: Path) -> None:
    """Print what a server is asked for a file's first piece and for its next."""
    with uproot.open({str(file): "Events"}) as tree:
        size = tree.num_entries // 5
    with listening_website(content=file.read_bytes()) as (website, seen):
        print(f"requests for a piece of {len(TTBAR)} branches")
        for name, where in (("XRootD", url), ("HTTP", f"{website}/nano.root")):
            for piece in range(2):
                del seen[:]
                wanted = {"entry_start": piece * size, "entry_stop": (piece + 1) * size}
                with counted_requests() as counts:
                    load_arrays(where, "Events", TTBAR, **wanted)
                counts["others"] = counts.pop("read") + len(seen)
                which = "first" if piece == 0 else "next"
                print(
                    f"  {name:6} {which:5} {counts['vector_read']:4d} vectored reads, "
                    f"{counts['others']:3d} others"
                )


def compare(url: str, file: Path, branches: list[str]) -> None:
    """Read a file in both ways, taking turns; print how they compare."""
    # a rule for another host is enough to make our file layer read this one
    settings = Settings(token_hosts=("nowhere.example.org",))
    ours = xcache_url(url, settings, failover=True)
    assert ours.startswith("failover://")
    requests = {}
    for name, where in (("plain", url), ("ours", ours)):
        with counted_requests() as counts:
            found = read(where, branches)
        requests[name] = dict(counts)
        expected = read(str(file), branches)
        assert all(ak.array_equal(found[b], expected[b]) for b in branches)
    ways = {
        name: partial(read, where, branches)
        for name, where in (("plain", url), ("ours", ours))
    }
    rounds = [{n: timed(way) for n, way in ways.items()} for _ in range(REPEATS)]
    # the quickest: what took longer has waited for others, the server among them
    times = {
        name: min((each[name] for each in rounds), key=lambda took: took.wall)
        for name in ways
    }
    ratio = times["plain"].wall / times["ours"].wall
    mb = file.stat().st_size / 1e6
    print(f"reading {mb:.0f} MB, {len(branches)} branches, by XRootD on loopback")
    for name, seconds in times.items():
        print(
            f"  {name:6} {seconds.wall:7.3f} s  {mb / seconds.wall:7.0f} MB/s  "
            f"{requests[name]['vector_read']:4d} vectored reads, "
            f"{requests[name]['read']:3d} others"
        )
    print(f"  ratio  {ratio:7.3f}  {verdict(ratio, TARGET)}")


if __name__ == "__main__":
    main()
