"""Every test starts with a clean environment, a temporary HOME and loopback only."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# No timing is asserted, and compiling takes its time. CI asks the same every time, so
# that it judges the change; people's machines go on searching.
hypothesis.settings.register_profile("casa", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "casa")

#: Prefixes of variables that steer casa_env, the ecosystem or a batch system.
STEERING = (
    "AWS_",
    "BEARER_TOKEN",
    "BINDER_",
    "CASA_",
    "CONDOR_",
    "_CONDOR_",
    "CPU_LIMIT",
    "DASK_",
    "JUPYTER",
    "MEM_LIMIT",
    "MLFLOW_",
    "S3_",
    "PYSPARK_",
    "SLURM_",
    "SPARK_",
    "_SPARK_",
    "TRITON_",
    "X509_",
    "XDG_",
    "XRD_",
)


#: What takes longest begins first, so that no process is left with it at the end.
LONGEST = ("test_spark", "clusters", "facility", "models", "test_differentiable", "lab")


def shared(file: Path) -> Path:
    """Return what shares services with a file: its folder of them, or itself."""
    return file.parent if file.parent.parent.name == "services" else file


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def order(item: pytest.Item) -> int:
        name = shared(item.path).stem
        return LONGEST.index(name) if name in LONGEST else len(LONGEST)

    items.sort(key=order)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep on one process what shares services, with ``--dist loadscope``.

    Groups would say the same, but xdist 3.8 does not find them with pytest 9.2.
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByService(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return str(shared(Path(nodeid.partition("::")[0])))

    return ByService(config, log)


@pytest.fixture(autouse=True)
def clean_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Remove what could steer the code under test; return the temporary HOME."""
    for name in list(os.environ):
        if name.startswith(STEERING):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    return home


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections to anything but this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            host = address[0] if isinstance(address, tuple) else str(address)
            if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
                msg = f"a test tried to reach {host}: tests stay on loopback"
                raise PermissionError(msg)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the repository's root."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data(repository: Path) -> Path:
    """Return the folder of real files beside the repository; skip without it."""
    folder = repository.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real files of {folder} are not on this machine")
    return folder
