"""The facility's pods, run on loopback by podman from the chart's own templates.

Podman plays Kubernetes' documents, but for what only a cluster has: Services are names
in a hosts file, for pods share one network, which has loopback alone and which nobody
else sees. The image is Debian's packages, made here; Casa's own environment, which the
lock pins, is a folder of the node.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from support.base_image import debian
from support.engine import NoEngineError
from support.helm import CHART, NAMESPACE, Tools, named
from support.installed import made_once
from support.processes import running
from support.programs import absent, needed, required_root

#: How long pods may take to be ready, in seconds.
PATIENCE_S = 180.0

#: What the image has besides the cache's packages.
PACKAGES = ("postgresql", "tini")

#: The images of the chart that stand on it, and how they are named there.
IMAGES = ("casa-lab", "casa-worker", "casa-xcache", "postgres", "tritonserver")

CONTAINERS = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4000:4000"]
base_hosts_file = "{folder}/hosts"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "{folder}/libpod"
"""
STORAGE = """\
[storage]
driver = "overlay"
graphroot = "{store}"
runroot = "{folder}/run"
"""

#: A data server of the same image: the origin behind the caches.
ORIGIN = """\
apiVersion: v1
kind: ConfigMap
metadata: {{name: origin}}
data:
  origin.cfg: |
    xrd.port 11094
    xrd.network nodnr
    all.export /store
    oss.localroot /data
    all.adminpath /run/xrootd
    all.pidpath /run/xrootd
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: origin}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: origin}}}}
  template:
    metadata: {{labels: {{app: origin}}}}
    spec:
      securityContext: {{runAsUser: 1000, runAsGroup: 0}}
      containers:
        - name: xrootd
          image: {image}
          command: [xrootd, -c, /etc/origin/origin.cfg, -n, origin]
          workingDir: /run/xrootd
          volumeMounts:
            - {{name: configuration, mountPath: /etc/origin}}
            - {{name: run, mountPath: /run/xrootd}}
            - {{name: data, mountPath: /data/store, readOnly: true}}
      volumes:
        - {{name: configuration, configMap: {{name: origin}}}}
        - {{name: run, emptyDir: {{}}}}
        - {{name: data, hostPath: {{path: "{data}", type: Directory}}}}
"""


@dataclass
class Pods:
    """A facility that is running."""

    folder: Path
    repository: Path
    network: int
    """The process whose network it is."""
    documents: list[dict[str, Any]] = field(default_factory=list)

    def inside(self, *words: str) -> list[str]:
        """Return a command that runs on the pods' network."""
        return ["nsenter", f"--net=/proc/{self.network}/ns/net", *words]

    def environ(self) -> dict[str, str]:
        return os.environ | {
            "CONTAINERS_CONF": str(self.folder / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(self.folder / "storage.conf"),
        }

    def attempt(
        self, *words: str, timeout: float = PATIENCE_S, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run podman and return how it ended."""
        return subprocess.run(
            self.inside("podman", *words),
            env=self.environ(),
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def podman(self, *words: str, text: str | None = None) -> str:
        """Run podman; return what it printed."""
        done = self.attempt(*words, text=text)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def play(self, documents: list[dict[str, Any]]) -> None:
        """Run what these documents describe."""
        for name, pod in templates(documents):
            _suit_podman(name, pod["spec"])
        file = self.folder / f"play-{time.monotonic_ns()}.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        self.podman("kube", "play", "--network", "host", str(file))

    def containers(self, name: str) -> list[str]:
        """Return the containers that run of a Deployment."""
        names = self.podman("ps", "--format", "{{.Names}}").split()
        return sorted(n for n in names if n.startswith(f"{name}-pod-"))

    def log(self, name: str) -> str:
        """Return what a Deployment's containers have written."""
        names = self.podman("ps", "--all", "--format", "{{.Names}}").split()
        said = []
        for one in names:
            if one.startswith(f"{name}-pod-"):
                done = self.attempt("logs", "--tail", "60", one)
                said.append(f"--- {one}\n{done.stdout}{done.stderr}")
        return "\n".join(said)

    def kill(self, container: str) -> None:
        """Kill a container as a crash would; podman starts it anew, as Kubernetes."""
        pid = int(self.podman("inspect", "--format", "{{.State.Pid}}", container))
        os.kill(pid, signal.SIGKILL)

    def execute(
        self, container: str, *words: str, timeout: float = 500, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in a container; return how it ended."""
        options = [f"--env={name}={value}" for name, value in environ.items()]
        return self.attempt("exec", *options, container, *words, timeout=timeout)

    def wait_until_listening(self, name: str, port: int) -> None:
        """Wait until a Deployment's port takes connections."""
        code = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1)"
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(
            self.inside(sys.executable, "-c", code), check=False, capture_output=True
        ).returncode:
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.2)


def templates(
    documents: Iterable[dict[str, Any]],
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the pods that documents describe, each with its name."""
    for document in documents:
        name = document["metadata"]["name"]
        if document["kind"] == "Pod":
            yield name, document
        elif document["kind"] == "Deployment":
            yield name, document["spec"]["template"]


def _suit_podman(name: str, spec: dict[str, Any]) -> None:
    """Change what podman 4.3 understands in another way than Kubernetes."""
    own = {v["name"] for v in spec.get("volumes", []) if "emptyDir" in v}
    for volume in spec.get("volumes", []):
        if volume["name"] in own:  # all pods would share the one of that name
            volume["name"] = f"{name}-{volume['name']}"
    for container in spec["containers"]:
        # it wants to publish them, and all pods share one network
        container.pop("ports", None)
        for mount in container.get("volumeMounts", []):
            if mount["name"] in own:
                mount["name"] = f"{name}-{mount['name']}"


def packages() -> list[str]:
    """Return the packages of the image: those of the cache's, and more."""
    listing = (CHART.parent / "xcache" / "apt.txt").read_text().splitlines()
    named_there = (line.split("#")[0].strip() for line in listing)
    return [*(name for name in named_there if name), *PACKAGES]


def _image_archive(cache: Path, repository: Path) -> Path:
    """Return the image's files, which are made once: a minute, 400 MB."""
    notebooks = shlex.quote(str(repository / "notebooks"))
    hooks = (
        'chroot "$1" useradd --uid 1000 --gid 0 --no-create-home casa',
        'chmod 755 "$1/root"',  # a folder of the node may be below it
        f'mkdir -p "$1/srv/casa" && ln -s {notebooks} "$1/srv/casa/notebooks"',
    )
    archive = cache / "pods.tar"
    with made_once(archive, json.dumps([packages(), hooks])) as missing:
        if missing:
            try:
                debian(archive, *packages(), hooks=hooks)
            except NoEngineError as err:
                absent(f"no image for the pods: {err}")
    return archive


def _secrets(pods: Pods) -> None:
    """Create what the chart wants by name; podman has two forms of it."""

    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    for name, content in {
        "casa-mlflow-database": {"password": "a password of the test"},
        "casa-object-store": {"access-key": "casakey", "secret-key": "casasecret"},
        "casa-lab": {"token": "a-token-of-the-test"},
    }.items():
        as_variables = json.dumps({key: coded(text) for key, text in content.items()})
        pods.podman("secret", "create", name, "-", text=as_variables)
    program = CHART.parent / "certificates.py"
    authority = pods.folder / "dask-authority"
    subprocess.run([sys.executable, program, "authority", authority], check=True)
    as_files = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "casa-dask-tls"},
        # podman takes this as it is, where Kubernetes decodes it
        "data": {
            file.name: file.read_text() for file in (authority / "secret").iterdir()
        },
    }
    pods.podman("secret", "create", "casa-dask-tls", "-", text=yaml.safe_dump(as_files))


@contextlib.contextmanager
def pods(
    folder: Path,
    chart: Path,
    tools: Tools,
    repository: Path,
    values: Mapping[str, object],
) -> Iterator[Pods]:
    """Run the laptop's facility, with some more values, while the block lasts."""
    required_root("make a network of its own for the pods")
    programs = ("podman", "runc", "conmon", "catatonit", "mmdebstrap", "nsenter", "ip")
    needed(*programs, packages="podman runc catatonit mmdebstrap iproute2")
    archive = _image_archive(repository / ".cache", repository)
    (folder / "containers.conf").write_text(CONTAINERS.format(folder=folder))
    store = folder / "store"
    (folder / "storage.conf").write_text(STORAGE.format(store=store, folder=folder))
    (folder / "hosts").write_text("127.0.0.1 localhost\n")
    alone = ["unshare", "--net", "sh", "-c", "ip link set lo up && exec sleep infinity"]
    with (
        running(alone, log=folder / "network.log") as holder,
        contextlib.ExitStack() as stack,
    ):
        facility = Pods(folder, repository, holder.pid)
        stack.callback(_end, facility)
        _prepare(facility, archive, chart)
        given = {"registry": "localhost", **_here(facility, chart), **values}
        (folder / "given.yaml").write_text(yaml.safe_dump(given))
        words = ["--values", str(chart / "values-laptop.yaml")]
        words += ["--values", str(folder / "given.yaml")]
        facility.documents = tools.render(chart, *words)
        _object_store(facility, stack)
        _start(facility, chart)
        yield facility


def _images(chart: Path) -> list[str]:
    """Return the names by which the chart asks for its images here."""
    about = yaml.safe_load((chart / "values.yaml").read_text())["images"]
    return [f"localhost/{image['name']}:{image['tag']}" for image in about.values()]


def _prepare(facility: Pods, archive: Path, chart: Path) -> None:
    """Give podman the image under all of its names, and the secrets."""
    path = f"{sys.prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    changes = [f'--change=ENV PATH="{path}"', "--change=ENV LANG=C.UTF-8"]
    image, *others = _images(chart)
    facility.podman("import", *changes, str(archive), image)
    facility.podman("tag", image, *others)
    _secrets(facility)


def _here(facility: Pods, chart: Path) -> dict[str, object]:
    """Return what this machine's values are."""
    image, *_ = _images(chart)
    run = ("run", "--rm", "--network=none", image)
    user = facility.podman(*run, "id", "-u", "postgres").strip()
    return {
        "nodeFolders": sorted({str(facility.repository), sys.base_prefix}),
        "objectStore": {"endpoint": "http://127.0.0.1:9000"},
        "postgres": {"uid": int(user)},
        "xcache": {"origins": ["127.0.0.1", "localhost"], "blockSize": "64k"},
    }


def _start(facility: Pods, chart: Path) -> None:
    """Run the origin and all that was rendered; wait until each service listens."""
    services = named(facility.documents, "Service")
    names = [f"{name}.{NAMESPACE} {name}" for name in services]
    text = " ".join(["127.0.0.1 localhost", *names])
    (facility.folder / "hosts").write_text(f"{text}\n")
    data = facility.repository / "notebooks" / "inputs"
    origin = ORIGIN.format(image=_images(chart)[0], data=data)
    facility.play(list(yaml.safe_load_all(origin)))
    played = {"ConfigMap", "PersistentVolumeClaim", "Deployment"}
    facility.play(copy.deepcopy([d for d in facility.documents if d["kind"] in played]))
    for name, service in services.items():
        for port in service["spec"]["ports"]:
            facility.wait_until_listening(name, port["port"])
    facility.wait_until_listening("origin", 11094)


def _object_store(facility: Pods, stack: contextlib.ExitStack) -> None:
    """Serve a folder as S3 on the pods' network."""
    content = facility.folder / "objects"
    (content / "casa-mlflow").mkdir(parents=True)
    rclone = str(Path(sys.executable).with_name("rclone"))
    command = [rclone, "serve", "s3", "--addr", "127.0.0.1:9000"]
    command += ["--auth-key", "casakey,casasecret", "--vfs-cache-mode", "off"]
    command += ["--dir-cache-time", "0.5s", "--config", os.devnull]
    command += ["--cache-dir", str(facility.folder / "rclone"), str(content)]
    log = facility.folder / "rclone.log"
    stack.enter_context(running(facility.inside(*command), log=log))
    facility.wait_until_listening("rclone", 9000)


def _end(facility: Pods) -> None:
    """Remove all pods, and what they were made of."""
    facility.attempt("pod", "rm", "--all", "--force", "--time", "0")
    facility.attempt("rm", "--all", "--force", "--time", "0")
    facility.attempt("volume", "rm", "--all", "--force")
    facility.attempt("rmi", "--all", "--force")
    shutil.rmtree(facility.folder / "store", ignore_errors=True)
