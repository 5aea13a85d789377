"""The AGC's catalog: parsed, fetched once, checked."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agc.errors import CatalogError
from agc.inputs.catalog import (
    CATALOG_SHA256,
    CATALOG_URL,
    fetch_catalog,
    fetched,
    parse_catalog,
)
from agc.inputs.filesets import catalog_fileset, ttbar_fileset
from agc.inputs.samples import SAMPLES
from support.webservers import Quiet, website

#: Files and events of each sample: the AGC's catalog at c37bf59.
PUBLISHED = {
    "ttbar__nominal": (243, 276_079_127),
    "ttbar__scaledown": (32, 39_329_663),
    "ttbar__scaleup": (33, 38_424_467),
    "ttbar__ME_var": (16, 19_098_219),
    "ttbar__PS_var": (15, 19_337_064),
    "single_top_s_chan__nominal": (6, 2_867_199),
    "single_top_t_chan__nominal": (90, 109_305_936),
    "single_top_tW__nominal": (3, 1_999_400),
    "wjets__nominal": (349, 433_719_099),
}


def small_catalog() -> str:
    listed: dict[str, dict[str, object]] = {}
    for i, sample in enumerate(SAMPLES):
        files = [
            {"path": f"https://origin/{sample.name}_{k}.root", "nevts": 10 * i + k + 1}
            for k in range(3)
        ]
        listed.setdefault(sample.process, {})[sample.variation] = {"files": files}
    return json.dumps(listed)


class Server:
    """A web server on loopback that counts its answers."""

    def __init__(self, content: bytes) -> None:
        self.answers = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answers += 1
                self.send_response(200)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/catalog.json"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server(small_catalog().encode())
    thread = threading.Thread(target=running.server.serve_forever)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def test_the_published_catalog_has_the_published_numbers(shared_data: Path) -> None:
    content = (shared_data / "agc-upstream" / "nanoaod_inputs.json").read_bytes()
    assert hashlib.sha256(content).hexdigest() == CATALOG_SHA256
    catalog = parse_catalog(content.decode())
    found = {name: (len(f), sum(f.values())) for name, f in catalog.items()}
    assert found == PUBLISHED
    one = catalog_fileset(catalog, 1)
    assert sum(sum(d["nevts"].values()) for d in one.values()) == 10_455_719
    assert sum(len(d["files"]) for d in catalog_fileset(catalog).values()) == 787


def test_a_fileset_takes_the_first_files_of_each_sample() -> None:
    catalog = parse_catalog(small_catalog())
    two = catalog_fileset(catalog, 2)
    assert list(two) == [sample.name for sample in SAMPLES]
    wjets = two["wjets__nominal"]
    assert list(wjets["files"].values()) == ["Events", "Events"]
    assert list(wjets["nevts"].values()) == [81, 82]
    assert wjets["metadata"]["process"] == "wjets"
    assert wjets["metadata"]["xsec_pb"] == pytest.approx(15487.164)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ttbar": {"nominal": {}}}', "null"])
def test_another_file_is_no_catalog(text: str) -> None:
    with pytest.raises(CatalogError, match="not the AGC's catalog"):
        parse_catalog(text)


def test_it_is_fetched_once_and_checked(server: Server, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(small_catalog().encode()).hexdigest()
    first = fetch_catalog(server.url, sha256=sha256, cache=tmp_path)
    again = fetch_catalog(server.url, sha256=sha256, cache=tmp_path)
    assert first == again == parse_catalog(small_catalog())
    assert server.answers == 1
    # a damaged copy is fetched anew
    (kept,) = tmp_path.iterdir()
    kept.write_text("{")
    assert fetch_catalog(server.url, sha256=sha256, cache=tmp_path) == first
    assert server.answers == 2


def test_other_content_than_the_pinned_one_is_refused(
    server: Server, tmp_path: Path
) -> None:
    with pytest.raises(
        CatalogError, match=r"not what was published.*expected sha256:0000"
    ):
        fetch_catalog(server.url, sha256="0" * 64, cache=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_error_names_the_stand_in(tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:9/catalog.json"
    with pytest.raises(CatalogError, match="N_FILES = 0: the simulated stand-in"):
        fetch_catalog(nobody, cache=tmp_path, timeout=2)


def test_a_cache_that_cannot_be_written_is_done_without(
    server: Server, tmp_path: Path
) -> None:
    sha256 = hashlib.sha256(small_catalog().encode()).hexdigest()
    (tmp_path / "file").touch()
    catalog = fetch_catalog(server.url, sha256=sha256, cache=tmp_path / "file")
    assert catalog == parse_catalog(small_catalog())


def test_a_file_that_nobody_has_a_checksum_of_is_fetched_once_and_kept(
    server: Server, tmp_path: Path
) -> None:
    for _ in range(2):
        file = fetched(server.url, None, without="-", folder="public", cache=tmp_path)
        assert file == tmp_path / "public" / "catalog.json"
    assert file.read_text() == small_catalog()
    assert server.answers == 1


def test_the_real_catalog_is_pinned_to_a_commit() -> None:
    assert "/c37bf59/" in CATALOG_URL
    assert len(CATALOG_SHA256) == 64


def test_a_meaningless_number_of_files_is_refused() -> None:
    with pytest.raises(CatalogError, match="n_files=-2"):
        ttbar_fileset(-2)


@pytest.mark.fault("inputs", "two downloads of one file at once", "both are whole")
def test_two_downloads_of_one_file_do_not_spoil_each_other(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    both = threading.Barrier(2, timeout=60)

    class InTurns(Quiet):
        protocol_version = "HTTP/1.0"  # the end of the connection ends the file

        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            self.send_response(200)
            self.end_headers()
            for start in range(0, len(content), 500_000):
                both.wait()  # neither is ahead of the other by more than a piece
                self.wfile.write(content[start : start + 500_000])

    with website(InTurns) as url, ThreadPoolExecutor(2) as pool:

        def download(_: int) -> bytes:
            place = f"{url}/events.root"
            return fetched(place, None, without="", cache=tmp_path).read_bytes()

        found = list(pool.map(download, range(2)))
    assert found == [content, content]
