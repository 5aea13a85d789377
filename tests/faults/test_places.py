"""What other users of the machine plant in folders that all may write to."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest

from casa_env.doctor import run_checks
from casa_env.errors import CredentialsError, NotebookError
from casa_env.running import run_notebook
from casa_env.settings import Settings
from casa_env.settings.places import content_of, is_safe, whole, writable_environment
from casa_env.tokens.bearer import bearer_token
from casa_env.tokens.proxy import x509_proxy
from casa_env.workers.tls import new_session

root_only = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can act as a second user"
)

#: The second user, and how a program runs as that one.
NOBODY = 65534
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]


@pytest.fixture
def shared() -> Iterator[Path]:
    """Return a folder as ``/tmp`` is: all users reach it, and may write to it."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = Path(place, "shared")
        folder.mkdir()
        folder.chmod(0o1777)
        yield folder


@pytest.fixture
def in_time() -> Iterator[None]:
    """End what waits for ever."""
    signal.alarm(60)
    yield
    signal.alarm(0)


def theirs(path: Path) -> None:
    path.write_text("planted-token")
    path.chmod(0o644)
    os.chown(path, NOBODY, NOBODY)


def link(path: Path) -> None:
    ours = path.parent.parent / "ours"
    ours.write_text("another-token")
    path.symlink_to(ours)
    os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


KINDS = [*(pytest.param(k, marks=root_only) for k in (theirs, link)), os.mkfifo]


@pytest.mark.fault("security", "a token planted in /tmp", "an error that names it")
@pytest.mark.parametrize("plant", KINDS)
@pytest.mark.usefixtures("in_time")
def test_a_planted_token_is_refused(
    shared: Path, plant: Callable[[Path], None]
) -> None:
    place = shared / f"bt_u{os.geteuid()}"
    plant(place)
    with pytest.raises(CredentialsError, match="not a regular file of your own") as one:
        bearer_token(Settings(), tmp=shared)
    assert str(place) in str(one.value)


@pytest.mark.fault("security", "a named proxy in /tmp is another's", "an error")
@pytest.mark.parametrize("plant", KINDS)
@pytest.mark.usefixtures("in_time")
def test_a_planted_proxy_is_refused_although_a_variable_names_it(
    shared: Path, plant: Callable[[Path], None]
) -> None:
    plant(shared / "x509up")
    with pytest.raises(CredentialsError, match="not a regular file of your own"):
        x509_proxy(Settings(x509_proxy=shared / "x509up"))


@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_link_as_kubernetes_mounts_secrets_is_followed(
    tmp_path: Path, mode: int
) -> None:
    tmp_path.chmod(mode)  # it gives the folder of a secret the mode of /tmp
    (tmp_path / "..data").write_text("mounted")
    (tmp_path / "token").symlink_to("..data")
    assert content_of(tmp_path / "token", named=True) == b"mounted"


@pytest.mark.fault("security", "FIFOs as token and proxy", "the doctor ends")
@pytest.mark.usefixtures("in_time")
def test_the_doctor_does_not_wait_for_a_fifo(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    settings = Settings(
        bearer_token_file=pipe, x509_proxy=pipe, dask_processes=False, timeout_s=2.0
    )
    found = {check.name: check for check in run_checks(settings)}
    assert found["token"].status == found["x509"].status == "failed"
    assert "regular file" in found["token"].evidence


@pytest.mark.fault("security", "the cache in /tmp was made by another", "a new one")
@root_only
def test_a_cache_that_somebody_else_made_is_not_used(shared: Path) -> None:
    planted = shared / f"casa-env-{os.geteuid()}"
    planted.mkdir(mode=0o755)
    os.chown(planted, NOBODY, NOBODY)
    extra, reason = writable_environment({"HOME": "/proc/none", "TMPDIR": str(shared)})
    assert f"not kept, as others can enter {planted}" in reason
    assert not list(planted.iterdir())
    assert is_safe(Path(extra["NUMBA_CACHE_DIR"]).parent)


#: Compiles where neither the home nor the clone can be written; prints what it keeps.
COMPILES = """
import logging, os, pathlib, sys
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from casa_env.settings.places import writable_environment
extra, reason = writable_environment(os.environ)
os.environ |= extra
import agc.compiled
agc.compiled._PACKAGE = pathlib.Path("/proc/none")
@agc.compiled.compiled
def one(x):
    return x + 1
print(one(1), sum(one.stats.cache_hits.values()), reason)
"""


def compiling(repository: Path, temporary: Path, script: Path, **more: str) -> str:
    script.write_text(COMPILES)
    done = subprocess.run(
        [sys.executable, "-B", script],
        env={
            "HOME": "/proc/none",
            "TMPDIR": str(temporary),
            "PYTHONPATH": str(repository / "notebooks"),
            **more,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.fault("security", "a pod's empty volume as TMPDIR", "nothing kept")
def test_in_a_pods_empty_folder_all_works_and_no_compiled_code_is_kept(
    shared: Path, tmp_path: Path, repository: Path
) -> None:
    shared.chmod(0o777)
    for _ in range(2):
        said = compiling(repository, shared, tmp_path / "one.py")
        assert "2 0 " in said
        assert f"go to {shared}/casa-env-{os.geteuid()}; compiled code is not" in said
        assert said.count("nowhere can only you write") == 1
    assert not list(shared.rglob("*.nb?"))
    shared.chmod(0o1777)
    assert "2 0 " in compiling(repository, shared, tmp_path / "one.py")
    assert "2 1 " in compiling(repository, shared, tmp_path / "one.py")


@pytest.mark.fault("security", "a cache of another's, ours within", "it is not used")
@root_only
@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
def test_compiled_code_below_a_folder_of_somebody_else_is_neither_made_nor_run(
    shared: Path, tmp_path: Path, repository: Path, variable: str
) -> None:
    theirs = shared / "cache"
    theirs.mkdir()
    theirs.chmod(0o777)
    os.chown(theirs, NOBODY, NOBODY)
    compiling(repository, shared, tmp_path / "one.py", **{variable: str(theirs)})
    assert not list(theirs.rglob("*.nb?"))


@pytest.mark.fault("security", "a session's record in a shared folder", "kept away")
def test_sessions_that_others_laid_there_are_neither_read_nor_cleared(
    shared: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "ours"
    (ours / "tls").mkdir(parents=True)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (ours / "process").write_text(f"{socket.gethostname()} {ended.pid}")
    (shared / "casa-planted").symlink_to(ours)
    new_session(Settings(dask_shared_folder=shared))
    assert (ours / "tls").is_dir()


@pytest.mark.fault("security", "another user looks into ours", "permission denied")
@root_only
def test_a_second_user_reads_neither_caches_nor_sessions(shared: Path) -> None:
    extra, _ = writable_environment({"HOME": "/proc/none", "TMPDIR": str(shared)})
    cache = Path(extra["NUMBA_CACHE_DIR"]).parent
    session = new_session(Settings(dask_shared_folder=shared)).path
    for folder in (cache, session):
        for words in (["ls", folder], ["touch", folder / "new"]):
            done = subprocess.run(
                [*AS_NOBODY, *words], capture_output=True, text=True, check=False
            )
            assert "ermission denied" in done.stderr


#: A notebook whose outputs go where a parameter says.
WRITES = """
from pathlib import Path
from agc.hists.io import whole
with whole(Path(OUTPUT_FOLDER) / "figures" / "one.txt") as partial:
    partial.write_text("private")
"""


@pytest.fixture
def notebook(shared: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a notebook in a clone that others may look into."""
    monkeypatch.setenv("PYTHONPATH", str(repository / "notebooks"))
    path = shared.parent / "clone" / "n.ipynb"
    path.parent.mkdir()
    path.parent.chmod(0o755)
    cells = [
        nbformat.v4.new_code_cell(source) for source in ("OUTPUT_FOLDER=''", WRITES)
    ]
    cells[0].metadata["tags"] = ["parameters"]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.mark.fault("security", "another user looks into results", "permission denied")
@root_only
@pytest.mark.parametrize("place", ["results/n", "shared"])
def test_a_second_user_neither_reads_nor_writes_results(
    shared: Path, notebook: Path, place: str
) -> None:
    folder = notebook.parent / place if place == "results/n" else shared / "n" / "new"
    run = run_notebook(notebook, parameters={"OUTPUT_FOLDER": str(folder)})
    assert run.output == folder / "n.ipynb"
    outputs = [run.output, folder / "figures" / "one.txt"]
    assert [one.is_file() for one in outputs] == [True, True]
    for words in (
        *(["cat", one] for one in outputs),
        *(["ls", one] for one in (folder, folder.parent)),
        *(["touch", one / "new"] for one in (folder, folder.parent)),
    ):
        done = subprocess.run(
            [*AS_NOBODY, *words], capture_output=True, text=True, check=False
        )
        assert "ermission denied" in done.stderr, words


@pytest.mark.fault("security", "results' folder in /tmp is another's", "an error")
@root_only
@pytest.mark.parametrize("below", ["", "new"])
def test_a_folder_that_somebody_else_made_for_our_results_is_refused(
    shared: Path, notebook: Path, below: str
) -> None:
    planted = shared / "results"
    planted.mkdir()
    planted.chmod(0o777)
    os.chown(planted, NOBODY, NOBODY)
    to = {"OUTPUT_FOLDER": str(planted / below)}
    with pytest.raises(NotebookError, match="somebody else made it") as one:
        run_notebook(notebook, parameters=to)
    assert str(planted) in str(one.value)
    with pytest.raises(PermissionError, match="somebody else"), whole(planted / "one"):
        pass
    assert not [path for path in planted.rglob("*") if path.is_file()]


@pytest.mark.fault("security", "links where a run writes in /tmp", "none is followed")
def test_no_link_is_followed_to_write_beside_a_runs_copy(
    shared: Path, notebook: Path, tmp_path: Path
) -> None:
    ours = tmp_path / "ours"
    ours.write_text("precious")
    for name in ("UNFINISHED", ".n.ipynb.partial", "n.ipynb"):
        (shared / name).symlink_to(ours)
    to = {"OUTPUT_FOLDER": str(tmp_path / "others")}
    run = run_notebook(notebook, parameters=to, output=shared / "n.ipynb")
    assert run.output.is_file()
    assert ours.read_text() == "precious"


@pytest.mark.fault("lost", "somebody else ran a clone first", "it works all the same")
@root_only
def test_a_clone_that_somebody_else_ran_first_works(
    shared: Path, repository: Path
) -> None:
    reached = [*AS_NOBODY, sys.executable, "-c", "import numba"]
    if subprocess.run(reached, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("another user does not reach this Python")
    package = shared.parent / "agc"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(repository / "notebooks" / "agc" / "compiled.py", package)
    text = (
        "from agc.compiled import compiled\n@compiled\ndef twice(x):\n    return x + x"
    )
    (package / "twice.py").write_text(text)
    program = [sys.executable, "-B", "-c", "from agc.twice import *; print(twice(2))"]
    for words in (program, [*AS_NOBODY, *program]):
        done = subprocess.run(
            words,
            cwd=shared.parent,
            env={"HOME": str(shared / f"home{len(words)}")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == "4\n", done.stderr
    assert list(package.rglob("*.nbc"))
