"""What the image is built on: Debian's own image, or one made of its packages."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from support.engine import Engine, NoEngineError

#: How long is tried to get Debian's image from a registry, in seconds.
PULL_S = 60.0

#: How long a Debian may take to be made on a loaded machine, in seconds.
MAKING_S = 400.0

#: What the image is built on, as `Dockerfile` says, and the release it is.
BASE = "debian:trixie-slim"
SUITE = "trixie"

#: What stands in for it where no registry can be reached.
STAND_IN = "casa-test/debian:trixie"

#: What documentation and translations a base image does without, as Debian's slim ones.
LEFT_OUT = ("doc", "man", "locale", "info")


def base(engine: Engine, folder: Path) -> str:
    """Return an image to build on: Debian's own, or one made here from its packages.

    Raises
    ------
    NoEngineError
        There is neither, or the engine cannot run it.
    """
    image = BASE if _pulled(engine) else STAND_IN
    if engine.attempt("image", "inspect", image).returncode != 0:
        _make_base(engine, folder)
    tried = engine.attempt("run", "--rm", "--network=none", image, "true")
    if tried.returncode != 0:
        msg = f"the engine cannot run a container: {tried.stderr.strip()[-300:]}"
        raise NoEngineError(msg)
    return image


def _pulled(engine: Engine) -> bool:
    """Tell whether a registry could be reached and gave Debian's image."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return engine.attempt("pull", "--quiet", BASE, timeout=PULL_S).returncode == 0
    return False


def _make_base(engine: Engine, folder: Path) -> None:
    """Make a base image from Debian's packages."""
    tree = folder / "base.tar"
    debian(tree, "ca-certificates")
    engine.command("import", "--change", 'CMD ["bash"]', str(tree), STAND_IN)
    tree.unlink()


def debian(target: Path, *packages: str, hooks: Sequence[str] = ()) -> None:
    """Make a Debian with some packages, in a folder or as an archive.

    A hook is a command of the shell, in which ``$1`` is the folder while it is made.

    Raises
    ------
    NoEngineError
        It could not be made; with what was said.
    """
    command = ["mmdebstrap", "--quiet", "--variant=minbase"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{x}/*" for x in LEFT_OUT]
    command += [f"--include={','.join(packages)}"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    command += [SUITE, str(target), f"deb {mirror()} {SUITE} main"]
    for last in (False, True):  # a mirror may be busy
        try:
            subprocess.run(command, check=True, timeout=MAKING_S, capture_output=True)
        except (OSError, subprocess.SubprocessError) as err:
            said = (getattr(err, "stderr", None) or b"").decode(errors="replace")
            msg = f"no Debian could be made: {err}: {said[-1000:]}"
            if last:
                raise NoEngineError(msg) from err
            shutil.rmtree(target, ignore_errors=True)
        else:
            return


def mirror() -> str:
    """Return the mirror that apt uses here."""
    sources = [Path("/etc/apt/sources.list")]
    sources += sorted(Path("/etc/apt/sources.list.d").glob("*"))
    for source in sources:
        if not source.is_file():
            continue
        for line in source.read_text(errors="replace").splitlines():
            for word in line.split("#")[0].split():
                if word.startswith(("http://", "https://")) and "security" not in word:
                    return word
    msg = "apt names no mirror to make a base image from"
    raise NoEngineError(msg)
