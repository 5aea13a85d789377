"""Make the virtual environment from a lock: what every ``make`` target starts with.

``python environment/install.py lab`` creates or updates ``.venv`` so that it holds
exactly what ``lab.lock`` pins, with hashes checked and bytecode compiled, and this
repository's own distributions. Nothing happens where that is already so. ``root`` makes
one beside it, ``.venv-root``, whose kernel JupyterLab offers as ``casa-root``; so do
``spark`` and ``differentiable``, with JAX.

It runs on a bare Python before anything is installed, so it needs the standard
library only, and of this repository just `casa_env.settings.places`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LOCKS = REPOSITORY / "environment"
VENV = REPOSITORY / ".venv"
CACHE = REPOSITORY / ".cache"

#: In each environment.
PYTHON = Path("bin", "python")
STAMP = Path("casa-setup.json")

#: What is installed from this repository.
OWN = (REPOSITORY, LOCKS / "fsspec-failover")

#: What an installation without anything cached takes: 2.0 GB in the environment and
#: about as much for downloads and the installer's cache (measured, Python 3.11).
NEEDED_BYTES = 4_000_000_000

#: How often progress is shown, in seconds.
PROGRESS_S = 0.5

#: A layer's lock holds those of the layers before it, pin for pin.
LAYERS = ("lab", "test")

#: Environments beside `.venv`, their kernels' names and what they take on disk, in MB,
#: beside what both have where they share files (measured, Python 3.11).
BESIDE = {
    "root": ("Python with ROOT (Casa)", 810),
    "spark": ("Python with Spark and ROOT (Casa)", 1_330),
    "differentiable": ("Python with JAX (Casa)", 610),
}

#: The one package that has no wheels, and is built by what its lock pins.
BUILT = "pyspark"

#: Where the C++ standard library's headers are: ROOT compiles code, without a compiler.
HEADERS = (Path("/usr/include/c++"), "*/vector")

#: The oldest Java that Spark 4.3 runs on.
OLDEST_JAVA = 17


class SetupError(Exception):
    """One line for the user: what happened and what to do next."""


def venv_of(layer: str) -> Path:
    """Return where a layer is installed."""
    return VENV if layer in LAYERS else VENV.with_name(f".venv-{layer}")


def digest(layer: str) -> str:
    """Return what an environment of this layer was made from, as a short digest."""
    own = (folder / "pyproject.toml" for folder in OWN)
    made_from = (LOCKS / f"{layer}.lock", *own)
    content = b"".join(path.read_bytes() for path in made_from)
    where = f"{REPOSITORY}|{sys.version_info[:3]}".encode()
    return hashlib.sha256(content + where).hexdigest()[:16]


def needed(layer: str) -> str | None:
    """Return the layer to install for a request, None where all of it is there.

    What was installed with a larger layer stays: updating for ``lab`` an environment
    that was made for ``test`` updates it for ``test``. An environment whose Python
    has been removed from this machine is made anew.
    """
    venv, layers = venv_of(layer), LAYERS if layer in LAYERS else (layer,)
    try:
        stamp = json.loads((venv / STAMP).read_text())
        made = layers.index(stamp["layer"])
    except (OSError, ValueError, KeyError):
        return layer
    larger = layers[max(made, layers.index(layer))]
    current = made >= layers.index(layer) and stamp.get("digest") == digest(larger)
    return None if current and (venv / PYTHON).exists() else larger


def find_uv(environ: dict[str, str]) -> str:
    """Return the path of the pinned uv, installing it where it is missing.

    Raises
    ------
    SetupError
        Neither venv nor pip could install it, and there is none on PATH.
    """
    folder = CACHE / "bootstrap"
    uv, made_from = folder / "bin" / "uv", folder / "bootstrap.lock"
    lock = LOCKS / "bootstrap.lock"
    if made_from.is_file() and made_from.read_text() == lock.read_text():
        return str(uv)
    shutil.rmtree(folder, ignore_errors=True)
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["--no-input", "--retries", "1", "--require-hashes", "-r", str(lock)]
    ways = (
        ([sys.executable, "-m", "venv", str(folder)], [f"{folder}/bin/python", *pip]),
        # Debian's python3 has no venv until python3-venv is installed; it may have pip
        ([sys.executable, *pip, "--target", str(folder)],),
    )
    reason = ""
    for commands in ways:
        for command in commands:
            done = subprocess.run(  # noqa: S603 - our own words
                command, env=environ, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
                break
        else:
            made_from.write_text(lock.read_text())
            return str(uv)
    shutil.rmtree(folder, ignore_errors=True)
    on_path = shutil.which("uv", path=environ.get("PATH"))
    if on_path:
        return on_path
    msg = (
        f"could not install uv, which installs everything else ({reason}): check the "
        "network, or install uv or python3-venv yourself"
    )
    raise SetupError(msg)


def create(layer: str, environ: dict[str, str]) -> None:
    """Make an environment hold exactly what a layer's lock pins, and what is our own.

    Raises
    ------
    SetupError
        No disk space, no network, or an installation that failed.
    """
    venv = venv_of(layer)
    python, stamp = venv / PYTHON, venv / STAMP
    free = shutil.disk_usage(REPOSITORY).free
    if free < NEEDED_BYTES and not stamp.exists():
        msg = (
            f"{free / 1e9:.1f} GB free below {REPOSITORY}: setting up takes up to "
            f"{NEEDED_BYTES / 1e9:.0f} GB; free some, or clone to another disk"
        )
        raise SetupError(msg)
    uv = find_uv(environ)
    version = ""
    if python.exists():
        ask = [str(python), "-c", "import sys; print(sys.version_info[:3])"]
        version = subprocess.run(  # noqa: S603 - our own words
            ask, capture_output=True, text=True, check=False
        ).stdout.strip()
    if version != str(sys.version_info[:3]):
        options = ("--clear", "--no-python-downloads", "--quiet")
        _uv(uv, environ, "venv", *options, "--python", sys.executable, str(venv))
    stamp.unlink(missing_ok=True)
    lock = str(LOCKS / f"{layer}.lock")
    # No builds but one, whose own requirements are taken from the lock, hashes checked.
    sync = ("pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes")
    sync += ("--only-binary", ":all:", "--no-binary", BUILT)
    sync += ("--build-constraints", lock)
    _uv(uv, environ, *sync, "--python", str(python), lock)
    # Offline: nothing but this repository may come in here.
    options = ("--no-deps", "--no-build-isolation", "--offline", "--quiet")
    editable = (word for folder in OWN for word in ("--editable", str(folder)))
    _uv(uv, environ, "pip", "install", *options, "--python", str(python), *editable)
    stamp.write_text(json.dumps({"layer": layer, "digest": digest(layer)}))


def require_headers(folder: Path, pattern: str) -> None:
    """Raise where ROOT would find no C++ standard library to compile with.

    Raises
    ------
    SetupError
        The message has the command that installs it.
    """
    if sys.platform != "linux" or any(folder.glob(pattern)):
        return
    versions = Path("/usr/share/doc").glob("gcc-*-base")
    newest = max((int(one.name.split("-")[1]) for one in versions), default=12)
    msg = (
        f"ROOT needs the headers of the C++ standard library, and {folder} has none: "
        f"as root, apt-get update && apt-get install libstdc++-{newest}-dev (Debian, "
        "Ubuntu; 79 MB), or dnf install libstdc++-devel (Fedora, RHEL)"
    )
    raise SetupError(msg)


def require_java(environ: dict[str, str]) -> None:
    """Raise where Spark would find no Java to run on.

    Raises
    ------
    SetupError
        The message has the command that installs it.
    """
    home, path = environ.get("JAVA_HOME"), environ.get("PATH")
    java = f"{home}/bin/java" if home else shutil.which("java", path=path)
    said = ""
    if java and os.access(java, os.X_OK):
        done = subprocess.run(  # noqa: S603 - the user's own Java
            [java, "-version"], env=environ, capture_output=True, text=True, check=False
        )
        said = done.stderr
    version = re.search(r'version "(\d+)', said)
    if version and int(version[1]) >= OLDEST_JAVA:
        return
    found = f"{java} is {version[1]}" if version else "none is in JAVA_HOME or on PATH"
    msg = (
        f"Spark needs Java {OLDEST_JAVA} or newer, and {found}: as root, apt-get "
        "update && apt-get install default-jre-headless (Debian, Ubuntu; 189 MB), or "
        "dnf install java-21-openjdk-headless (Fedora, RHEL)"
    )
    raise SetupError(msg)


def offer_kernels() -> None:
    """Let the JupyterLab of `.venv` offer the kernels of environments beside it."""
    for layer, (title, _) in BESIDE.items():
        python = venv_of(layer) / PYTHON
        if python.exists() and VENV.is_dir():
            folder = VENV / "share" / "jupyter" / "kernels" / f"casa-{layer}"
            folder.mkdir(parents=True, exist_ok=True)
            command = [str(python), "-m", "ipykernel_launcher"]
            spec = {
                "argv": [*command, "-f", "{connection_file}"],
                "display_name": title,
                "language": "python",
                "metadata": {"debugger": True},
            }
            (folder / "kernel.json").write_text(json.dumps(spec, indent=1))


def added_mb(venv: Path) -> int:
    """Return what an environment takes beside files that it shares with `.venv`."""
    here, shared = ({f.stat().st_ino: f for f in p.rglob("*")} for p in (venv, VENV))
    own = (file.lstat() for number, file in here.items() if number not in shared)
    return round(sum(one.st_size for one in own) / 1e6)


def _uv(uv: str, environ: dict[str, str], *words: str) -> None:
    """Run uv and show that it works; a failure becomes one line."""
    free = shutil.disk_usage(REPOSITORY).free
    begin = time.monotonic()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(  # noqa: S603 - our own words
            [uv, *words], env=environ, stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            while True:
                try:
                    code = process.wait(timeout=PROGRESS_S)
                    break
                except subprocess.TimeoutExpired:
                    written = max(0, free - shutil.disk_usage(REPOSITORY).free) / 1e9
                    _progress(f"{time.monotonic() - begin:.0f} s, {written:.1f} GB")
        finally:
            process.terminate()  # on Ctrl-C; a process that has ended stays so
            process.wait()
            _progress("")
        said.seek(0)
        reason = " ".join(said.read().split())
    if code == 0:
        return
    if shutil.disk_usage(REPOSITORY).free < NEEDED_BYTES // 10:
        msg = f"the disk below {REPOSITORY} is full: free {NEEDED_BYTES / 1e9:.0f} GB"
        raise SetupError(msg)
    if problem := registry_problem(reason):
        raise SetupError(problem)
    msg = f"`uv {' '.join(words[:2])}` failed: {reason}"
    raise SetupError(msg)


def registry_problem(reason: str) -> str:
    """Return what keeps uv from the package registry, empty where nothing does.

    Parameters
    ----------
    reason
        What uv wrote, on one line: an error, its causes in turn, perhaps a hint.
    """
    words = ("failed to fetch", "dns error", "error sending request", "timed out")
    if not any(word in reason.lower() for word in words):
        return ""
    cause = reason.partition(" hint: ")[0].rpartition(" cause: ")[2].rstrip(".")
    if "certificate" in cause:
        return (
            f"the package registry's certificate is not trusted ({cause}): where the "
            "network has an authority of its own, try again with UV_SYSTEM_CERTS=1, "
            "or SSL_CERT_FILE set to its file"
        )
    return (
        f"the package registry cannot be reached ({cause}): check the network, then "
        "try again"
    )


def _progress(text: str) -> None:
    """Show how far it is: one line that changes, where somebody looks at it."""
    if sys.stdout.isatty():
        sys.stdout.write(f"\r\033[Kcasa: installing, {text}" if text else "\r\033[K")
        sys.stdout.flush()


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("layer", choices=(*LAYERS, *BESIDE))
    layer = needed(parser.parse_args().layer)
    if layer is None:
        return 0
    venv = venv_of(layer)
    sys.path.insert(0, str(REPOSITORY))
    from casa_env.settings.places import writable_environment

    begin, (title, size_mb) = time.monotonic(), BESIDE.get(layer, ("", 0))
    environ = dict(os.environ)
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # it would leave every start slow
    environ.pop("VIRTUAL_ENV", None)
    try:
        extra, reason = writable_environment(environ, fallback=CACHE)
        if reason:
            print(f"casa: {reason}", flush=True)
        environ |= extra
        if layer in ("root", "spark"):
            require_headers(*HEADERS)
        if layer == "spark":
            require_java(environ)
        size = f", about {size_mb:,} MB beside .venv" if size_mb else ""
        words = f"casa: setting up {venv.name} from environment/{layer}.lock{size}"
        print(words, flush=True)
        create(layer, environ)
        offer_kernels()
    except SetupError as error:
        print(f"casa: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"casa: setting up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("casa: interrupted; run it again to go on", file=sys.stderr)
        return 130
    added = f": {title}, {added_mb(venv):,} MB" if title else ""
    seconds = time.monotonic() - begin
    print(f"casa: {venv.name} is ready after {seconds:.0f} s{added}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
