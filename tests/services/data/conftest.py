"""A small grid on loopback: an issuer of tokens, servers, and what they serve."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fsspec_failover import report
from fsspec_failover.breakers import BREAKERS
from support import xrootd
from support.certificates import Authority, Certificate
from support.processes import free_port
from support.programs import required
from support.rootfiles import write_tree
from support.tokens import Issuer
from support.webservers import issuer_website


@dataclass(frozen=True)
class Grid:
    """Certificates and the issuer, for all tests."""

    folder: Path
    authority: Authority
    certificate: Certificate
    authorities: Path
    issuer: Issuer

    def token_server(self, name: str, **options: str) -> xrootd.Server:
        """Return a server that wants this issuer's tokens."""
        return xrootd.with_tokens(
            self.folder,
            name=name,
            issuer=self.issuer.url,
            certificate=self.certificate,
            authority=self.authority.file,
            **options,
        )


@pytest.fixture(scope="session")
def service_folder() -> Iterator[Path]:
    # pytest's own folders are closed to the user that XRootD runs as
    with tempfile.TemporaryDirectory(prefix="casa-services-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def grid(service_folder: Path) -> Iterator[Grid]:
    folder = service_folder / "grid"
    folder.mkdir()
    authority = Authority(folder, "authority")
    certificate = authority.issue("localhost")
    authorities = folder / "authorities"
    authorities.mkdir()
    shutil.copy(authority.file, authorities)
    openssl = required("openssl", package="openssl")
    subprocess.run([openssl, "rehash", str(authorities)], check=True)
    issuer = Issuer(f"https://localhost:{free_port()}")
    with issuer_website(issuer, certificate):
        yield Grid(folder, authority, certificate, authorities, issuer)


@pytest.fixture(autouse=True)
def fresh_process_state(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust our authority; forget which hosts were down, and what was read."""
    # XRootD's client looks once in a process, at its first connection
    monkeypatch.setenv("X509_CERT_DIR", str(grid.authorities))
    BREAKERS.clear()
    report(reset=True)


@pytest.fixture
def place(service_folder: Path) -> Iterator[Path]:
    """Return a folder for servers of one test."""
    with tempfile.TemporaryDirectory(dir=service_folder) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def tree(service_folder: Path) -> bytes:
    """Return a ROOT file of 2 MB with a tree."""
    file = service_folder / "tree.root"
    write_tree(file, n_bytes=2_000_000)
    return file.read_bytes()


Serve = Callable[..., xrootd.Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers that are stopped after the test."""
    started: list[xrootd.Server] = []

    def start(server: xrootd.Server, **files: bytes) -> xrootd.Server:
        started.append(server)
        for name, content in files.items():
            xrootd.put(server, f"/store/{name}.root", content)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()
