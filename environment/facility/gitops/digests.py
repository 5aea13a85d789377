"""What is deployed is what was tested: digests of the images and of the chart.

``digests.py record lab=sha256:... chart=sha256:...`` notes what tests have passed, and
staging deploys it. ``digests.py promote`` lets production deploy what staging does.
Either changes files; the commit is what happens, and `git revert` takes it back.
``digests.py check`` fails where an environment would deploy something else.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent

#: What a release is made of, the environments, and what promotion copies.
IMAGES = ("lab", "postgres", "triton", "worker", "xcache")
PARTS = ("chart", *IMAGES)
ENVIRONMENTS = ("staging", "production")
PROMOTED = ("chart.yaml", "images.yaml")

DIGEST = re.compile("sha256:[0-9a-f]{64}")

#: Stands where nothing has been tested yet.
NONE = "sha256:" + 64 * "0"


class DigestError(Exception):
    """One line: what is wrong, where, and what to do next."""


def tested(folder: Path) -> dict[str, list[str]]:
    """Return the digests of each part that tests have passed, the newest first."""
    file = folder / "tested.yaml"
    found = _read(file) or {}
    for name, digests in found.items():
        if name not in PARTS or not isinstance(digests, list):
            msg = f"{file}: {name} is no list of digests of one of {', '.join(PARTS)}"
            raise DigestError(msg)
    return found


def deployed(folder: Path, environment: str) -> dict[str, str]:
    """Return the digest of each part that an environment deploys."""
    chart, images = (folder / environment / name for name in PROMOTED)
    try:
        found = {"chart": _read(chart)["spec"]["ref"]["digest"]}
        for name, image in _read(images)["images"].items():
            found[name] = image["digest"]
    except (KeyError, TypeError, AttributeError) as err:
        msg = (
            f"{chart} or {images} has no digest: run digests.py record, or git checkout"
        )
        raise DigestError(msg) from err
    return found


def record(folder: Path, given: dict[str, str]) -> None:
    """Note what tests have passed; staging deploys it from now on."""
    for name, digest in given.items():
        if name not in PARTS:
            msg = f"there is no part {name!r} of a release: {', '.join(PARTS)}"
            raise DigestError(msg)
        if not DIGEST.fullmatch(digest) or digest == NONE:
            msg = f"{name}: {digest!r} is no digest: sha256: and 64 hexadecimal digits"
            raise DigestError(msg)
    known = tested(folder)
    for name, digest in given.items():
        known[name] = [digest, *(old for old in known.get(name, []) if old != digest)]
    lines = ["# Written by digests.py: what tests have passed, the newest first."]
    for name in sorted(known):
        lines += [f"{name}:", *(f"  - {digest}" for digest in known[name])]
    (folder / "tested.yaml").write_text("\n".join(lines) + "\n")
    _deploy(folder / "staging", deployed(folder, "staging") | given)


def promote(folder: Path) -> None:
    """Let production deploy what staging does."""
    wrong = [line for line in check(folder) if line.startswith("staging")]
    if wrong:
        raise DigestError(wrong[0])
    for name in PROMOTED:
        shutil.copy(folder / "staging" / name, folder / "production" / name)


def check(folder: Path) -> list[str]:
    """Return a line for each part that would be deployed and was not tested."""
    known, wrong = tested(folder), []
    for environment in ENVIRONMENTS:
        found = deployed(folder, environment)
        for name in PARTS:
            digest = found.get(name, NONE)
            passed = known.get(name, [])
            if digest == NONE:
                reason = "deploys nothing yet: run digests.py record with what passed"
            elif digest not in passed:
                reason = f"would deploy {digest}, which tested.yaml does not have"
            elif environment == "staging" and digest != passed[0]:
                reason = f"would deploy {digest}, and {passed[0]} is newer"
            else:
                continue
            wrong.append(f"{environment}: {name} {reason}")
    return wrong


def _deploy(folder: Path, digests: dict[str, str]) -> None:
    chart, images = (folder / name for name in PROMOTED)
    chart.write_text(DIGEST.sub(digests["chart"], chart.read_text()))
    lines = ["# Written by digests.py: the images that were tested.", "images:"]
    lines += [f'  {name}: {{digest: "{digests[name]}"}}' for name in IMAGES]
    images.write_text("\n".join(lines) + "\n")


def _read(file: Path) -> Any:  # noqa: ANN401 - YAML
    try:
        return yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as err:
        msg = f"{file} cannot be read: {' '.join(str(err).split())}"
        raise DigestError(msg) from err


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the overlays")
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record", help="note what tests have passed")
    recording.add_argument("given", nargs="+", metavar="PART=sha256:...")
    commands.add_parser("promote", help="production deploys what staging does")
    commands.add_parser("check", help="fail where something else would be deployed")
    words = parser.parse_args()
    try:
        if words.command == "record":
            pairs = (part.partition("=") for part in words.given)
            record(words.folder, {name: digest for name, _, digest in pairs})
        elif words.command == "promote":
            promote(words.folder)
        elif wrong := check(words.folder):
            print("\n".join(wrong))
            return 1
    except DigestError as error:
        print(f"casa: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
