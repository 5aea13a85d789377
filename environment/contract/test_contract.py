"""What a facility relies on in an image, checked from its inside: ours, or any other.

``python -m pytest environment/contract`` checks the environment that it runs in;
environment/image.md says how to point it at an image.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import getpass
import importlib
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from platform import python_implementation, python_version
from typing import Any, Final, NoReturn

import pytest
from single_user import PREFIX, SingleUser

#: A certificate that ends sooner than this is as good as gone, in seconds.
SOON_S: Final = 3600.0

#: Starts a cluster, prints where its dashboard listens and its link, waits for the end.
CLUSTER: Final = """
import json, sys
from distributed import LocalCluster
here = "127.0.0.1:0"
with LocalCluster(n_workers=0, processes=False, dashboard_address=here) as cluster:
    port = cluster.scheduler.services["dashboard"].port
    print(json.dumps([port, cluster.dashboard_link]), flush=True)
    sys.stdin.read()
"""

#: Leaves an orphan behind that ends at once, and prints its process id.
ORPHAN: Final = "import os\nif (child := os.fork()): print(child, flush=True)"

#: Packages that bring their own keys of Dask's configuration, once they are imported.
PACKAGES: Final = (
    *("distributed", "dask.array", "dask.dataframe"),
    *("dask_gateway", "dask_jobqueue"),
)

#: Keys below which anything may stand, and keys that are read but have no default.
FREE: Final = (
    "config",  # where configuration was read from, set by Dask itself
    "distributed.logging",  # names of loggers
    "distributed.nanny.pre-spawn-environ",  # names of variables
    "distributed.scheduler.default-task-durations",  # names of tasks
    "distributed.worker.resources",  # names of resources
    "gateway.cluster.options",  # what the gateway offers
    "gateway.http-client.proxy",
    "labextension",  # the panel hands them on
    "logging",  # the logging module's own configuration
    *("num-workers", "pool", "root-config"),
    *("scheduler", "scheduler-address", "temporary-directory"),
)


def broken(what: str, next_step: str) -> NoReturn:
    """Fail in people's words."""
    pytest.fail(f"{what}\n  next step: {next_step}", pytrace=False)


@pytest.fixture
def answering(server: SingleUser) -> SingleUser:
    """Return the server; fail where it does not answer."""
    if server.problem:
        broken(
            f"No server answers through the entrypoint: {server.problem}",
            'Let the entrypoint end in exec "$@", and install jupyterhub.',
        )
    return server


def test_entrypoint(answering: SingleUser) -> None:
    """What a hub starts answers; and process 1 reaps the orphans of notebooks.

    Shells and Python do not (``wait(2)``): the table of processes would fill.
    """
    assert answering.port
    words = [sys.executable, "-S", "-c", ORPHAN]
    orphan = int(subprocess.check_output(words))  # noqa: S603 - our own words
    deadline = time.monotonic() + 5
    while Path(f"/proc/{orphan}").exists():
        if time.monotonic() > deadline:
            step = "Start through tini, as in ENTRYPOINT [tini, -g, --]."
            broken("The server answers, but process 1 does not reap orphans.", step)
        time.sleep(0.05)


def test_ports(answering: SingleUser) -> None:
    """The server listens where the hub said, and not on loopback alone."""
    try:  # an address of loopback, but not the one of servers that are for it alone
        socket.create_connection(("127.0.0.2", answering.port), 10).close()
    except OSError:
        broken(
            f"The hub asked for port {answering.port} on all interfaces: "
            "the server listens on loopback alone.",
            "Remove ip and port from the image's Jupyter configuration and from what "
            "wraps jupyterhub-singleuser: the hub decides both.",
        )


def test_hub(answering: SingleUser, pytestconfig: pytest.Config) -> None:
    """Server and hub have one major version (``jupyterhub._version``)."""
    ours = answering.get("api/status")[1].get("x-jupyterhub-version", "")
    theirs = pytestconfig.getoption("--hub-version")
    if not ours:
        step = "Let the hub start jupyterhub-singleuser."
        broken("The server does not say which JupyterHub it has.", step)
    if not theirs:
        pytest.skip(f"the server has JupyterHub {ours}: give the hub's --hub-version")
    if ours.partition(".")[0] != theirs.partition(".")[0]:
        what = f"The server has JupyterHub {ours}, the hub {theirs}."
        broken(what, "Use an image and a hub of one major version.")


def test_dashboards(answering: SingleUser) -> None:
    """A cluster's dashboard is linked, and shown, through the server."""
    problem = "a cluster with a dashboard did not start"
    with subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-c", CLUSTER],
        env={**os.environ, **answering.variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            if process.stdout and (line := process.stdout.readline()):
                port, link = json.loads(line)
                expected = f"{PREFIX}proxy/{port}/status"
                problem = f"Dask links to {link}, not to {expected}"
                if link == expected:
                    status, _, body = answering.get(f"proxy/{port}/status")
                    problem = f"{expected} answers {status}"
                    if status == 200 and b"bokeh" in body.lower():
                        return
        finally:
            process.kill()
    broken(
        f"No dashboard comes through the server: {problem}.",
        "Install bokeh and jupyter-server-proxy, and set Dask's "
        "distributed.dashboard.link to {JUPYTERHUB_SERVICE_PREFIX}proxy/{port}/status.",
    )


def test_uid() -> None:
    """Whoever a facility runs the image as has a home and a name.

    Kubernetes and OpenShift may run an image as any uid, in group 0 ("Guidelines for
    creating images", OpenShift): so what has to be written belongs to group 0.
    """
    home = Path(os.environ.get("HOME") or "/")
    problems = []
    if home == Path("/") or not home.is_dir():
        problems.append(f"HOME is {home}, which is no home")
    else:
        if not os.access(home, os.W_OK):
            problems.append(f"{home} cannot be written")
        status = home.stat()
        opened = status.st_gid == 0 and (status.st_mode & stat.S_IRWXG) == stat.S_IRWXG
        # what is mounted belongs to its user; what is in the image is for anybody
        if not opened and not os.path.ismount(home):
            mode = stat.filemode(status.st_mode)
            problems.append(f"{home} is {mode}, group {status.st_gid}: group 0 cannot")
    try:
        getpass.getuser()
    except (KeyError, OSError):
        problems.append("this uid has no name: neither USER nor /etc/passwd has one")
    if problems:
        broken(
            f"uid {os.getuid()}, gid {os.getgid()}: {'; '.join(problems)}.",
            "In the image: HOME and USER as variables, the home in group 0 and as open "
            "to it as to its user (chmod g=u).",
        )


def test_pins(peer: Path) -> None:
    """The other image, notebook or worker, has the same packages; one may have more."""
    try:
        other = json.loads(peer.read_text())
        python, there = str(other["python"]), dict(other["packages"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        what = f"{peer} is not what `casa-env info --json` prints: {err!r}"
        broken(what, "Make it anew in the other image.")
    folders = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    here = {
        re.sub(r"[-_.]+", "-", found.name).lower(): found.version
        for found in metadata.distributions(path=folders)
    }
    smaller = here if len(here) <= len(there) else there
    rows = [
        f"{name} {here.get(name, 'missing')} here, {there.get(name, 'missing')} there"
        for name in sorted(smaller)
        if here.get(name) != there.get(name)
    ]
    if (ours := f"{python_version()} {python_implementation()}") != python:
        rows.insert(0, f"Python {ours} here, {python} there")
    if rows:
        more = f" and {len(rows) - 8} more" if rows[8:] else ""
        what = f"Notebook and workers differ: {', '.join(rows[:8])}{more}."
        broken(what, "Build both from one lock: `worker` and `lab` of one Dockerfile.")


def test_certificates(settings: Any) -> None:
    """Authorities are trusted; the files of Dask's TLS fit; the grid's are there."""
    problems = []
    if not ssl.create_default_context().get_ca_certs():
        problems.append("no certificate authority is trusted")
    names = ("dask_tls_ca_file", "dask_tls_cert", "dask_tls_key")
    files = {name: getattr(settings, name) for name in names}
    if all(files.values()):
        try:
            ends = _handshake(*files.values())["notAfter"]
            if ssl.cert_time_to_seconds(ends) - time.time() < SOON_S:
                problems.append(f"dask_tls_cert: {files[names[1]]} ends at {ends}")
        except OSError as err:
            shown = ", ".join(map(str, files.values()))
            problems.append(f"Dask's TLS files do not fit ({shown}): {err}")
    elif any(files.values()):
        problems += [f"{name} is not set" for name, path in files.items() if not path]
    folder = settings.x509_ca_dir
    if folder is not None and not list(folder.glob("*.[0-9]")):
        problems.append(f"x509_ca_dir: {folder} holds no hashed authority (*.0)")
    if problems:
        broken(
            f"{'; '.join(problems)}.",
            "Install ca-certificates in the image; mount the others, and renew them "
            "while sessions run.",
        )


def _handshake(authority: Path, cert: Path, key: Path) -> dict[str, Any]:
    """Let a certificate be verified as Dask does, in memory; return what it says."""
    trusting = ssl.create_default_context(cafile=str(authority))
    trusting.check_hostname = False
    trusting.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as distributed.security has it
    showing = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    showing.load_cert_chain(cert, key)  # which also compares the two
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = showing.wrap_bio(there, back, server_side=True)
    client = trusting.wrap_bio(back, there)
    for side in (client, server) * 3:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert() or {}


def test_token(settings: Any) -> None:
    """The bearer token is a private file that holds a good one.

    A token in a variable cannot be renewed while a session runs; WLCG Bearer Token
    Discovery v1.0 looks at ``BEARER_TOKEN`` first, so it would also hide the file.
    """
    path, problem = settings.bearer_token_file, ""
    if settings.bearer_token:
        path, problem = settings.origin("bearer_token"), "it is never renewed"
    elif path is None:
        pytest.skip("bearer_token_file is not set")
    else:
        try:
            content = path.read_text().strip()
            problem = "" if content else "it is empty"
            if path.stat().st_mode & stat.S_IRWXO:
                problem = "others can read it"
            if (ends := _end(content)) <= time.time():
                problem = f"it ended {time.time() - ends:.0f} s ago"
        except (OSError, ValueError) as err:
            problem = str(err)
    if problem:
        broken(
            f"The bearer token in {path} will not do: {problem}.",
            "Let the hub write the token to bearer_token_file, readable for its user "
            "alone, and renew it there.",
        )


def _end(content: str) -> float:
    """Return when a JSON Web Token ends, in seconds since 1970; never if it says no."""
    try:
        _, claims, _ = content.split(".")
        padded = claims + "=" * (-len(claims) % 4)
        return float(json.loads(base64.urlsafe_b64decode(padded))["exp"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def test_dask_keys() -> None:
    """Something reads each key of Dask's configuration.

    Dask takes any key without a word; what is misspelt is silently ignored.
    """
    dask = pytest.importorskip("dask", reason="dask is not installed")
    for package in PACKAGES:
        with contextlib.suppress(ImportError):  # it, or an optional part of it
            importlib.import_module(package)
    places = [str(path) for path in dask.config.paths]
    written = dask.config.collect(paths=places, env=os.environ)
    if wrong := unread(written, dask.config.defaults):
        named = "; ".join(f"{key} (perhaps {near})" for key, near in wrong[:5])
        files = ", ".join(place for place in places if Path(place).exists())
        what = f"Nothing reads {named}: in {files or 'no file'} or a DASK_* variable."
        broken(what, "Correct the key, or remove it.")


def unread(
    written: Mapping[str, Any], defaults: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Return the keys that nothing reads, each with the known key most like it."""
    known = {
        above for tree in defaults for key in _leaves(tree) for above in _above(key)
    }
    ends = {key for key in known if not any(k.startswith(f"{key}.") for k in known)}
    return [
        (key, difflib.get_close_matches(key, sorted(known), n=1, cutoff=0.0)[0])
        for key in _leaves(written)
        if key not in known and not _above(key) & (ends | set(FREE))
    ]


def _above(key: str) -> set[str]:
    """Return a dotted key, and the keys above it."""
    parts = key.split(".")
    return {".".join(parts[: n + 1]) for n in range(len(parts))}


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Give the dotted names of a nested mapping's values, as Dask compares them."""
    for name, value in tree.items():
        key = f"{above}{str(name).replace('_', '-')}"
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{key}.")
        else:
            yield key
