"""XRootD servers on loopback: origins, caches, and one that wants tokens over TLS."""

from __future__ import annotations

import base64
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.certificates import Certificate
from support.processes import free_port, kill_group
from support.programs import required, required_root

#: The user that Debian's package makes: XRootD refuses to be root.
USER = "xrootd"

_LOOPBACK = Path(__file__).with_name("loopback.py")


@dataclass
class Server:
    """One server: its folder, its port, and its process while it runs."""

    name: str
    folder: Path
    port: int
    config: str
    data: Path
    """What it serves, or keeps where it is a cache: ``/store`` is in it."""
    prefix: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"root://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "log" / self.name / "server.log"

    def start(self) -> None:
        """Start it, and wait until it speaks XRootD."""
        program = required("xrootd", package="xrootd-server")
        file = self.folder / f"{self.name}.cfg"
        file.write_text(self.config)
        for made in (self.data, self.folder / "admin", self.folder / "log"):
            made.mkdir(exist_ok=True, parents=True)
        words = [program, "-c", str(file), "-n", self.name, "-I", "v4"]
        words += ["-l", str(self.folder / "log" / "server.log")]
        if os.geteuid() == 0:
            words += ["-R", USER]
            _give(self.folder)
        command = [sys.executable, str(_LOOPBACK), str(self.port), *words]
        with (self.folder / f"{self.name}.out").open("ab") as output:
            self.process = subprocess.Popen(
                [*self.prefix, *command],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | self.environ,
                cwd=self.folder,
                start_new_session=True,
            )
        self._wait()

    def stop(self) -> None:
        """Kill it, as a crash would."""
        if self.process is not None:
            kill_group(self.process)
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it and its children."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def _wait(self, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while not _speaks_xrootd(self.port):
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / f"{self.name}.out").read_text()
                logged = self.log.read_text() if self.log.exists() else ""
                msg = f"{self.name} did not start:\n{said}\n{logged}"
                raise TimeoutError(msg)
            time.sleep(0.05)


def origin(folder: Path, *, name: str = "origin", extra: str = "") -> Server:
    """Return a data server, not yet started."""
    data = folder / name
    return Server(name, folder, *_configured(folder, data, extra), data)


def cache(
    folder: Path, *, name: str = "cache", origin: Server | None = None, extra: str = ""
) -> Server:
    """Return an XCache: of one origin, or forwarding to any on this machine."""
    data = folder / name
    where = f"127.0.0.1:{origin.port}" if origin else "="
    lines = [
        "ofs.osslib libXrdPss.so",
        "pss.cachelib libXrdPfc.so",
        f"pss.origin {where}",
        # what the cache itself waits for an origin
        "pss.setopt ConnectTimeout 3",
        "pss.setopt RequestTimeout 5",
        "pfc.ram 1g",
        "pfc.diskusage 0.97 0.98",
        "pfc.blocksize 64k",
        "pfc.prefetch 0",
    ]
    if origin is None:
        lines += ["all.export /root:/", "all.export /xroot:/"]
        lines += ["pss.permit 127.0.0.1", "pss.permit localhost"]
    text = "\n".join([*lines, extra])
    return Server(name, folder, *_configured(folder, data, text), data)


def with_tokens(
    folder: Path,
    *,
    name: str,
    issuer: str,
    certificate: Certificate,
    authority: Path,
    audience: str = "https://wlcg.cern.ch/jwt/v1/any",
    extra: str = "",
) -> Server:
    """Return a data server that wants TLS and a token of an issuer, also by HTTPS.

    Its plugin for tokens has no setting for certificate authorities: it gets a mount
    namespace of its own in which ours is one of the system's.
    """
    required_root("give a server a view of its own of the system's authorities")
    scitokens = folder / f"{name}-scitokens.cfg"
    scitokens.write_text(
        f"[Global]\naudience = {audience}\nonmissing = deny\n\n"
        f"[Issuer casa]\nissuer = {issuer}\nbase_path = /store\n"
        f"map_subject = False\ndefault_user = {USER}\n"
    )
    system = Path("/etc/ssl/certs/ca-certificates.crt")
    bundle = folder / f"{name}-bundle.crt"
    bundle.write_text(system.read_text() + authority.read_text())
    keys = folder / f"{name}-xdg"
    keys.mkdir()
    lines = [
        "sec.protocol ztn",
        "sec.protocol unix",
        "sec.protbind * only ztn unix",
        f"ofs.authlib libXrdAccSciTokens.so config={scitokens}",
        "scitokens.trace all",
    ]
    server = _over_tls(folder, name, certificate, authority, [*lines, extra])
    mount = f'mount --bind {bundle} {system} && exec "$@"'
    server.prefix = ["unshare", "--mount", "sh", "-c", mount, "sh"]
    server.environ = {"XDG_CACHE_HOME": str(keys)}
    return server


def with_macaroons(
    folder: Path,
    *,
    name: str,
    certificate: Certificate,
    authority: Path,
    users: Mapping[str, str],
) -> Server:
    """Return a data server that makes macaroons for users, and takes nothing else.

    A user's certificate has the user as its common name; each may read one folder.
    """
    key = folder / f"{name}-secret"
    key.write_bytes(base64.encodebytes(secrets.token_bytes(64)))  # in lines
    key.chmod(0o400)
    names, rights = folder / f"{name}-names", folder / f"{name}-rights"
    names.write_text("".join(f'"/CN={user}" {user}\n' for user in users))
    rights.write_text("".join(f"u {user} {path} rl\n" for user, path in users.items()))
    lines = [
        "all.sitename CASA",
        # with another protocol beside it, a connection that had a token would do
        "sec.protocol ztn -tokenlib libXrdMacaroons.so",
        "sec.protbind * only ztn",
        "ofs.authlib libXrdMacaroons.so",
        "http.exthandler xrdmacaroons libXrdMacaroons.so",
        f"macaroons.secretkey {key}",
        f"acc.authdb {rights}",
        f"http.gridmap {names}",
    ]
    return _over_tls(folder, name, certificate, authority, lines)


def _over_tls(
    folder: Path,
    name: str,
    certificate: Certificate,
    authority: Path,
    lines: Sequence[str],
) -> Server:
    """Return a data server that asks who it is, over TLS, by root:// and https://."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    shutil.copy(certificate.cert, cert)
    shutil.copy(certificate.key, key)
    key.chmod(0o400)
    port, data = free_port(), folder / name
    common = [
        "xrootd.seclib libXrdSec.so",
        "ofs.authorize 1",
        f"xrd.tls {cert} {key}",
        f"xrd.tlsca certfile {authority}",
        "xrootd.tls login session",
        "http.header2cgi Authorization authz",
        f"xrd.protocol http:{port} libXrdHttp.so",
    ]
    text = "\n".join([*common, *lines])
    return Server(name, folder, *_configured(folder, data, text, port=port), data)


@contextlib.contextmanager
def running(*servers: Server) -> Iterator[None]:
    """Run servers while the block lasts."""
    try:
        for server in servers:
            server.start()
        yield
    finally:
        for server in servers:
            server.stop()


def put(server: Server, path: str, content: bytes) -> None:
    """Give a server a file."""
    file = server.data / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    if os.geteuid() == 0:
        _give(server.data)


def _configured(
    folder: Path, data: Path, extra: str, port: int | None = None
) -> tuple[int, str]:
    port = port or free_port()
    lines = [
        f"xrd.port {port}",
        "xrd.network nodnr",
        "all.export /store",
        f"oss.localroot {data}",
        f"all.adminpath {folder / 'admin'}",
        f"all.pidpath {folder / 'admin'}",
    ]
    return port, "\n".join([*lines, extra, ""])


def _give(folder: Path) -> None:
    """Make the server's user the owner."""
    user = pwd.getpwnam(USER)
    os.chown(folder, user.pw_uid, user.pw_gid)
    for parent, folders, files in os.walk(folder):
        for name in folders + files:  # its own links point into /proc
            path = Path(parent, name)
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def _speaks_xrootd(port: int) -> bool:
    """Say hello as a client does: five numbers, answered by a status."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as client:
            client.settimeout(1)
            client.sendall(struct.pack(">5i", 0, 0, 0, 4, 2012))
            return len(client.recv(8)) == 8
    except OSError:
        return False
