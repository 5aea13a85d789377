"""Docker's builder plugin, which repo2docker needs and Debian 12 does not have."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from support.base_image import mirror
from support.engine import Engine

#: The release that has the plugin.
SUITE = "trixie"


def buildx_plugin(engine: Engine, folder: Path) -> Path:
    """Return a configuration folder of the client in which the plugin works.

    Parameters
    ----------
    engine
        The engine, and its client's environment.
    folder
        Where to unpack the plugin from Debian's newer release, if there is none.
    """
    there = engine.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    if engine.attempt("buildx", "version").returncode == 0:
        return Path(there)
    lists, plugin = folder / "apt", folder / "client" / "cli-plugins"
    for name in ("lists/partial", "archives/partial"):
        (lists / name).mkdir(parents=True)
    plugin.mkdir(parents=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    source = f"deb [signed-by={keyring}] {mirror()} {SUITE} main\n"
    (lists / "sources.list").write_text(source)
    options = [
        f"--option=Dir::Etc::SourceList={lists}/sources.list",
        "--option=Dir::Etc::SourceParts=/nonexistent",
        f"--option=Dir::State::Lists={lists}/lists",
        f"--option=Dir::Cache={lists}",
        "--option=APT::Sandbox::User=root",
    ]
    for words in (["update"], ["download", "docker-buildx"]):
        subprocess.run(
            ["apt-get", "--quiet", "--quiet", *options, *words],
            cwd=lists,
            check=True,
            timeout=300,
            capture_output=True,
        )
    (package,) = lists.glob("docker-buildx_*.deb")
    tree = lists / "tree"
    subprocess.run(["dpkg-deb", "--extract", package, tree], check=True)
    (program,) = tree.glob("usr/*/docker/cli-plugins/docker-buildx")
    shutil.copy(program, plugin)
    return plugin.parent
