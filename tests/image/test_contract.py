"""The contract in our images, and in images that break each of its promises."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.certificates import Authority
from support.images import Images

SITE = "/opt/casa/lib/python3.13/site-packages"

METADATA = "Name: awkward\nVersion: 9.9.9\n"


def written(path: str, text: str) -> str:
    """Return a step of a Dockerfile that writes a file."""
    coded = base64.b64encode(text.encode()).decode()
    return f"RUN echo {coded} | base64 --decode > {path}"


#: A wrapper that decides what only the hub may decide.
LOOPBACK = """#!/bin/sh
exec /opt/casa/bin/real-singleuser --ServerApp.ip=127.0.0.1 "$@"
"""

#: By check: what breaks it, as steps of a Dockerfile, run as root.
BROKEN = {
    # It forgets exec "$@".
    "entrypoint": f"""{written("/start", "#!/bin/sh" + chr(10) + "sleep 600")}
RUN chmod 0755 /start
ENTRYPOINT ["/start"]""",
    "ports": f"""WORKDIR /opt/casa/bin
RUN mv jupyterhub-singleuser real-singleuser
{written("/opt/casa/bin/jupyterhub-singleuser", LOOPBACK)}
RUN chmod 0755 jupyterhub-singleuser""",
    "hub": f"""WORKDIR {SITE}/jupyterhub
RUN echo '__version__ = "4.1.6"' >> _version.py""",
    "dashboards": "RUN rm /etc/dask/casa.yaml",
    "uid": "RUN chmod 0700 /home/jovyan && chown 1000:100 /home/jovyan",
    "pins": f"""WORKDIR {SITE}
RUN mv awkward-*.dist-info awkward-9.9.9.dist-info
{written(f"{SITE}/awkward-9.9.9.dist-info/METADATA", METADATA)}""",
    "certificates": "RUN rm -r /etc/ssl/certs",
    "token": """RUN echo a token > /token && chmod 0644 /token
ENV BEARER_TOKEN_FILE=/token""",
    "dask_keys": written(
        "/etc/dask/site.yaml", "distributed: {worker: {memory: {spil: 0.7}}}"
    ),
}

#: Every variable and file that a facility gives, so that nothing is off.
MOUNTED = "/site"


@pytest.fixture(scope="module")
def given(images: Images, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Make what a facility mounts; return the options that mount it."""
    folder = tmp_path_factory.mktemp("site")
    authority = Authority(folder, "site")
    authority.issue("dask")
    (folder / "token").write_text("a token that does not say when it ends")
    told = images.run(images.worker, ["casa-env", "info", "--json"])
    (folder / "worker.json").write_text(told)
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    for file in folder.iterdir():
        file.chmod(0o644)
    (folder / "token").chmod(0o640)
    os.chown(folder / "token", 1000, 0)
    variables = {
        "BEARER_TOKEN_FILE": f"{MOUNTED}/token",
        "CASA_ENV_DASK_TLS_CA_FILE": f"{MOUNTED}/site.pem",
        "CASA_ENV_DASK_TLS_CERT": f"{MOUNTED}/dask.crt",
        "CASA_ENV_DASK_TLS_KEY": f"{MOUNTED}/dask.key",
    }
    options = [f"--env={name}={value}" for name, value in variables.items()]
    return [f"--volume={folder}:{MOUNTED}:ro", *options]


@pytest.fixture(scope="module")
def contract(
    repository: Path, given: list[str], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """Return the options that mount the contract, and pytest for the worker's image."""
    folder = tmp_path_factory.mktemp("pytest")
    words = [sys.executable, "-m", "uv", "--quiet", "pip", "install", "--target"]
    lock = repository / "environment" / "test.lock"
    (pin,) = re.findall(r"^pytest==\S+", lock.read_text(), re.MULTILINE)
    subprocess.run([*words, str(folder), pin], check=True, timeout=300)
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(parent.stat().st_mode | 0o055)
    return [
        f"--volume={repository / 'environment' / 'contract'}:/contract:ro",
        f"--volume={folder}:/pytest:ro",
        *given,
    ]


def asked(*words: str) -> list[str]:
    """Return the command that checks all that the contract says, or what words name."""
    about = ["--hub-version", "6.1.1", "--peer", f"{MOUNTED}/worker.json"]
    return ["python", "-m", "pytest", *about, *(words or ["/contract"])]


def test_every_promise_has_an_image_that_breaks_it(repository: Path) -> None:
    file = repository / "environment" / "contract" / "test_contract.py"
    promises = re.findall(r"^def test_(\w+)", file.read_text(), re.MULTILINE)
    assert sorted(BROKEN) == sorted(promises)


def test_the_lab_keeps_every_promise(images: Images, contract: list[str]) -> None:
    words = asked("--entrypoint", "tini -g --", "/contract")
    done = images.attempt(images.lab, words, *contract)
    assert done.returncode == 0, done.stdout
    assert f"{len(BROKEN)} passed" in done.stdout
    assert "skipped" not in done.stdout


def test_the_worker_keeps_those_that_concern_it(
    images: Images, contract: list[str]
) -> None:
    lent = "--env=PYTHONPATH=/pytest"
    done = images.attempt(images.worker, asked(), lent, *contract)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed, 4 skipped" in done.stdout
    assert "an image for workers has none" in done.stdout


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise_is_caught(
    images: Images, contract: list[str], promise: str
) -> None:
    steps = [f"FROM {images.lab}", "USER 0", BROKEN[promise]]
    steps += ["USER 1000", "WORKDIR /home/jovyan"]
    image = images.derived(f"casa-broken-{promise}", "\n".join(steps) + "\n")
    options = [o for o in contract if promise != "token" or "BEARER_TOKEN" not in o]
    entrypoint = images.inspect(image)["Config"]["Entrypoint"]
    words = asked(
        *("--entrypoint", " ".join(entrypoint)),
        f"/contract/test_contract.py::test_{promise}",
    )
    if promise == "entrypoint":  # which would not start the contract, either
        done = images.attempt(image, words[1:], "--entrypoint=python", *options)
    else:
        done = images.attempt(image, words, *options)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "next step: " in done.stdout


def test_an_image_without_an_init_is_caught(
    images: Images, contract: list[str]
) -> None:
    words = asked("/contract/test_contract.py::test_entrypoint")[1:]
    done = images.attempt(images.lab, words, "--entrypoint=python", *contract)
    assert done.returncode == 1
    assert "does not reap" in done.stdout
