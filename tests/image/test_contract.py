"""`casa-env contract` in our images, and in images that break each of its promises."""

from __future__ import annotations

import base64
import json
import os

import pytest

from casa_env.contract import CHECKS
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
    "dask-keys": written(
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


def contract(*words: str) -> list[str]:
    asked = ["--hub-version", "6.1.1", "--peer", f"{MOUNTED}/worker.json", "--json"]
    return ["casa-env", "contract", *asked, *words]


def test_every_promise_has_an_image_that_breaks_it() -> None:
    assert sorted(BROKEN) == sorted(CHECKS)


def test_the_lab_keeps_every_promise(images: Images, given: list[str]) -> None:
    done = images.attempt(images.lab, contract("--entrypoint", "tini -g --"), *given)
    checks = {check["name"]: check for check in json.loads(done.stdout)}
    assert sorted(checks) == sorted(CHECKS)
    assert {check["status"] for check in checks.values()} == {"ok"}, done.stdout
    assert done.returncode == 0


def test_the_worker_keeps_those_that_concern_it(
    images: Images, given: list[str]
) -> None:
    done = images.attempt(images.worker, contract(), *given)
    checks = {check["name"]: check["status"] for check in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert checks["entrypoint"] == "off"
    assert {checks[name] for name in CHECKS[4:]} == {"ok"}


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise_is_caught(
    images: Images, given: list[str], promise: str
) -> None:
    steps = [f"FROM {images.lab}", "USER 0", BROKEN[promise], "USER 1000"]
    image = images.derived(f"casa-broken-{promise}", "\n".join(steps) + "\n")
    options = [o for o in given if promise != "token" or "BEARER_TOKEN" not in o]
    entrypoint = images.inspect(image)["Config"]["Entrypoint"]
    words = contract("--only", promise, "--entrypoint", " ".join(entrypoint))
    if promise == "entrypoint":  # which would not start the contract, either
        done = images.attempt(image, words[1:], "--entrypoint=casa-env", *options)
    else:
        done = images.attempt(image, words, *options)
    (check,) = json.loads(done.stdout)
    assert (check["name"], check["status"]) == (promise, "failed"), check
    assert check["next_step"]
    assert done.returncode == 1


def test_an_image_without_an_init_is_caught(images: Images) -> None:
    words = ["contract", "--only", "entrypoint", "--json"]
    done = images.attempt(images.lab, words, "--entrypoint=casa-env")
    (check,) = json.loads(done.stdout)
    assert check["status"] == "failed"
    assert "does not reap" in check["evidence"]
