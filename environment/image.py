"""Build the images and hold what is in them against the locks: ``make image``.

``python environment/image.py`` builds both targets of the `Dockerfile` with the engine
that runs here, asks each image what is installed in it, fails where that is not what
its lock pins, and labels it with the environment's id. Options behind ``--`` go to
``docker build``, such as ``--build-arg=BASE=...`` or ``--network=host``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY))

from casa_env.workers.sameness import Environment  # noqa: E402 - found by the line above

#: The targets, each with the lock that it is made from.
TARGETS = ("worker", "lab")

#: The label that holds the environment's id.
LABEL = "casa.environment-id"

#: A requirement of a lock: what stands before its hashes.
REQUIREMENT = re.compile(r"^(?P<requirement>[A-Za-z0-9][^\\#]*?)\s*\\?$", re.MULTILINE)


class ImageError(Exception):
    """One line for the user: what happened and what to do next."""


def locked(lock: Path, here: Environment) -> Environment:
    """Return what a lock installs on a Python and a platform, with what is our own.

    Parameters
    ----------
    lock
        The lock.
    here
        The Python, platform and casa_env of an environment that was made from it.
    """
    from packaging.requirements import Requirement

    version, implementation = here.python.split()
    system, machine = here.platform.split()
    markers = {
        "implementation_name": implementation.lower(),
        "platform_machine": machine,
        "platform_python_implementation": implementation,
        "platform_system": system,
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": system.lower(),
    }
    own = REPOSITORY / "environment" / "fsspec-failover" / "pyproject.toml"
    project = tomllib.loads(own.read_text())["project"]
    found = {"casa-env": here.casa_env, project["name"]: project["version"]}
    for match in REQUIREMENT.finditer(lock.read_text()):
        requirement = Requirement(match["requirement"])
        if requirement.marker is None or requirement.marker.evaluate(markers):
            name = re.sub(r"[-_.]+", "-", requirement.name).lower()
            (pin,) = requirement.specifier
            found[name] = pin.version
    return Environment(
        python=here.python,
        platform=here.platform,
        casa_env=here.casa_env,
        packages=tuple(sorted(found.items())),
    )


def installed(docker: str, image: str) -> Environment:
    """Ask an image what is installed in it."""
    command = [docker, "run", "--rm", "--network=none", image]
    done = _run([*command, "casa-env", "info", "--json"], capture_output=True)
    told = json.loads(done.stdout)
    return Environment(
        python=told["python"],
        platform=told["platform"],
        casa_env=told["casa_env"],
        packages=tuple(sorted(told["packages"].items())),
    )


def build(docker: str, target: str, tag: str, options: list[str]) -> None:
    """Build a target, compare it with its lock, and label it.

    Raises
    ------
    ImageError
        The build failed, or what is installed is not what is locked.
    """
    image = f"casa-{target}:{tag}"
    command = [docker, "build", f"--target={target}", f"--tag={image}"]
    command += [*_secret(os.environ), *options, str(REPOSITORY)]
    began = time.monotonic()
    _run(command)
    here = installed(docker, image)
    pinned = locked(REPOSITORY / "environment" / f"{target}.lock", here)
    if pinned.id != here.id:
        difference = sorted(set(pinned.packages) ^ set(here.packages))
        msg = f"{image} is not what {target}.lock pins: {difference[:8]}"
        raise ImageError(msg)
    revision = _revision()
    labels = [f"--label={LABEL}={here.id}"]
    labels.append(f"--label=org.opencontainers.image.revision={revision}")
    labels.append(f"--label=org.opencontainers.image.version={tag}")
    _run([*command[:-1], *labels, command[-1]], capture_output=True)  # all is cached
    took = time.monotonic() - began
    print(f"casa: {image} has environment {here.id}, after {took:.0f} s", flush=True)


def _secret(environ: Mapping[str, str]) -> list[str]:
    """Return the option that lends the build the certificate authorities used here."""
    bundle = environ.get("SSL_CERT_FILE")
    return [f"--secret=id=ca,src={bundle}"] if bundle else []


def _revision() -> str:
    """Return the commit that is checked out, with a plus where files have changed."""
    words = ["git", "-C", str(REPOSITORY), "describe", "--always", "--abbrev=40"]
    done = subprocess.run(  # noqa: S603 - our own words
        [*words, "--exclude=*", "--dirty=+"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def _run(
    command: list[str], *, capture_output: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command; its failure becomes one line."""
    environ = os.environ | {"DOCKER_BUILDKIT": "1"}
    try:
        return subprocess.run(  # noqa: S603 - our own words
            command, env=environ, capture_output=capture_output, text=True, check=True
        )
    except FileNotFoundError as err:
        msg = f"{command[0]} is not installed: install Docker, then try again"
        raise ImageError(msg) from err
    except subprocess.CalledProcessError as err:
        said = (err.stderr or "").strip().splitlines()[-1:]
        msg = " ".join([f"`{' '.join(command[:2])}` failed", *said])
        raise ImageError(msg) from err


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--docker", default="docker", help="the client to use")
    parser.add_argument("--tag", default="dev", help="of casa-lab and casa-worker")
    parser.add_argument("--target", choices=TARGETS, action="append", help="not both")
    parser.add_argument("options", nargs="*", help="for docker build, behind --")
    words = parser.parse_args()
    try:
        for target in words.target or TARGETS:
            build(words.docker, target, words.tag, words.options)
    except ImageError as error:
        print(f"casa: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
