"""What the image is built on: Debian's own image, or one made of its packages."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from support.engine import Engine, NoEngineError

#: How long is tried to get Debian's image from a registry, in seconds.
PULL_S = 60.0

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
    left_out = (f"--dpkgopt=path-exclude=/usr/share/{x}/*" for x in LEFT_OUT)
    command = ["mmdebstrap", "--quiet", "--variant=minbase"]
    command += ["--include=ca-certificates", *left_out]
    command += [SUITE, str(tree), f"deb {mirror()} {SUITE} main"]
    try:
        subprocess.run(command, check=True, timeout=300, capture_output=True)
    except (OSError, subprocess.SubprocessError) as err:
        msg = f"there is no base image, and none could be made: {err}"
        raise NoEngineError(msg) from err
    engine.command("import", "--change", 'CMD ["bash"]', str(tree), STAND_IN)
    tree.unlink()


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
