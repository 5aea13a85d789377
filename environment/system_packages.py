"""Install the system packages that tests need, or say how to get them.

On Debian as root the missing ones of a listing are shown, then installed: those of
``test-apt.txt``, or of ``image-apt.txt`` for the tests of the image.
Elsewhere, and with ``--list``, they are listed with the tests that will be skipped
for want of them and the command that installs them. Never fatal: a test whose
program is missing says so itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


def wanted(text: str) -> dict[str, str]:
    """Return each package of a listing with the reason that stands behind it."""
    lines = (line.partition("#") for line in text.splitlines())
    return {name.strip(): why.strip() for name, _, why in lines if name.strip()}


def is_installed(package: str) -> bool:
    """Ask Debian's package database whether a package is installed."""
    done = subprocess.run(  # noqa: S603 - our own words
        ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout == "installed"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--install", action="store_true", help="install with apt-get")
    group.add_argument("--list", action="store_true", help="only say what is missing")
    parser.add_argument("--listing", default="test-apt.txt", help="beside this program")
    words = parser.parse_args()
    install = words.install

    packages = wanted((FOLDER / words.listing).read_text())
    if not shutil.which("dpkg-query"):
        names = ", ".join(packages)
        print(f"casa: this is not Debian: tests that need {names} may be skipped")
        return 0
    missing = {name: why for name, why in packages.items() if not is_installed(name)}
    if not missing:
        return 0
    print("casa: tests use these system packages, which are missing:")
    for name, why in missing.items():
        print(f"  {name:20} {why}")
    command = f"apt-get update && apt-get install {' '.join(missing)}"
    if not install or os.geteuid() != 0:
        print(f"casa: their tests are skipped; to run them, as root: {command}")
        return 0
    environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    options = ["--yes", "--quiet", "--no-install-recommends"]
    for words in (["update", "--quiet"], ["install", *options, *missing]):
        done = subprocess.run(  # noqa: S603 - our own words
            ["apt-get", *words],  # noqa: S607 - Debian's own, found on PATH
            env=environ,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            print(f"casa: apt-get {words[0]} failed: {done.stderr.strip()[-400:]}")
            print(f"casa: their tests are skipped; to run them, as root: {command}")
            return 0
    print("casa: installed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
