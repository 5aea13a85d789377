"""Make the virtual environment from a lock: what every ``make`` target starts with.

``python environment/install.py lab`` creates or updates ``.venv`` so that it holds
exactly what ``lab.lock`` pins, with hashes checked and bytecode compiled, and this
repository's own distributions. Nothing happens where that is already so.

It runs on a bare Python before anything is installed, so it needs the standard
library only, and of this repository just `casa_env.settings.places`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
LOCKS = REPOSITORY / "environment"
VENV = REPOSITORY / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "casa-setup.json"
CACHE = REPOSITORY / ".cache"

#: What is installed from this repository.
OWN = (REPOSITORY, LOCKS / "fsspec-failover")

#: What an installation without anything cached takes: 2.0 GB in the environment and
#: about as much for downloads and the installer's cache (measured, Python 3.11).
NEEDED_BYTES = 4_000_000_000

#: How often progress is shown, in seconds.
PROGRESS_S = 0.5

#: A layer's lock holds those of the layers before it, pin for pin.
LAYERS = ("lab", "test")


class SetupError(Exception):
    """One line for the user: what happened and what to do next."""


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
    try:
        stamp = json.loads(STAMP.read_text())
        made = LAYERS.index(stamp["layer"])
    except (OSError, ValueError, KeyError):
        return layer
    larger = LAYERS[max(made, LAYERS.index(layer))]
    current = made >= LAYERS.index(layer) and stamp.get("digest") == digest(larger)
    return None if current and PYTHON.exists() else larger


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
    """Make `.venv` hold exactly what a layer's lock pins, and what is our own.

    Raises
    ------
    SetupError
        No disk space, no network, or an installation that failed.
    """
    free = shutil.disk_usage(REPOSITORY).free
    if free < NEEDED_BYTES and not STAMP.exists():
        msg = (
            f"{free / 1e9:.1f} GB free below {REPOSITORY}: setting up takes up to "
            f"{NEEDED_BYTES / 1e9:.0f} GB; free some, or clone to another disk"
        )
        raise SetupError(msg)
    uv = find_uv(environ)
    version = ""
    if PYTHON.exists():
        ask = [str(PYTHON), "-c", "import sys; print(sys.version_info[:3])"]
        version = subprocess.run(  # noqa: S603 - our own words
            ask, capture_output=True, text=True, check=False
        ).stdout.strip()
    if version != str(sys.version_info[:3]):
        options = ("--clear", "--no-python-downloads", "--quiet")
        _uv(uv, environ, "venv", *options, "--python", sys.executable, str(VENV))
    STAMP.unlink(missing_ok=True)
    lock = str(LOCKS / f"{layer}.lock")
    # No builds: what a source distribution is built with is in no lock.
    sync = ("pip", "sync", "--quiet", "--compile-bytecode", "--require-hashes")
    sync += ("--no-build",)
    _uv(uv, environ, *sync, "--python", str(PYTHON), lock)
    # Offline: nothing but this repository may come in here.
    options = ("--no-deps", "--no-build-isolation", "--offline", "--quiet")
    editable = (word for folder in OWN for word in ("--editable", str(folder)))
    _uv(uv, environ, "pip", "install", *options, "--python", str(PYTHON), *editable)
    STAMP.write_text(json.dumps({"layer": layer, "digest": digest(layer)}))


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
    parser.add_argument("layer", choices=LAYERS)
    layer = needed(parser.parse_args().layer)
    if layer is None:
        return 0
    sys.path.insert(0, str(REPOSITORY))
    from casa_env.settings.places import writable_environment

    begin = time.monotonic()
    environ = dict(os.environ)
    environ.pop("PYTHONDONTWRITEBYTECODE", None)  # it would leave every start slow
    environ.pop("VIRTUAL_ENV", None)
    try:
        extra, reason = writable_environment(environ, fallback=CACHE)
        if reason:
            print(f"casa: {reason}", flush=True)
        environ |= extra
        print(f"casa: setting up .venv from environment/{layer}.lock", flush=True)
        create(layer, environ)
    except SetupError as error:
        print(f"casa: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"casa: setting up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("casa: interrupted; run it again to go on", file=sys.stderr)
        return 130
    print(f"casa: .venv is ready after {time.monotonic() - begin:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
