from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import casa_env

#: The layers of the package, the lowest first. A module imports from layers below its
#: own, and never beside it, except for what DEPENDS_BESIDE names.
LAYERS = (
    {"errors", "sites", "values", "network", "queues", "reaper", "ownership"}
    | {"breakers", "reading", "sealing"}
    | {"scheduler_side", "worker_side", "worker_voice"},
    {"config_file", "paths", "bearer_tokens", "declaring", "travel"},
    {"place_options", "data_options", "parameters"},
    {"cluster_options"},
    {"options", "wheels"},
    {"settings", "kernels", "config_template"},
    {"identity", "credentials", "execution", "display", "hub_token"},
    {"received", "object_stores", "token_rules", "x509", "xcache"}
    | {"session_folders", "comparison"},
    {"filesystems", "tls", "batch_jobs"},
    {"waiting", "shipping"},
    {"local_backend", "join_backend", "gateway_backend", "batch_backend"},
    {"access", "delivery", "servicex"},
    {"provenance", "mlflow_tokens", "triton", "shared_region"},
    {"tracking_store", "model_repository", "triton_errors"},
    {"triton_model"},
    {"clusters", "tracking", "trials", "inference"},
    {"run_info"},
    {"checks"},
    {"place_checks", "cluster_checks", "data_checks", "model_checks", "single_user"},
    {"server_contract", "image_contract", "file_contract", "dask_contract"},
    {"doctor", "contract"},
    {"mlflow_ui"},
    {"jupyter"},
    {"commands"},
    {"cli"},
    {"__init__", "__main__"},
)

HEAVY = ("numpy", "dask", "distributed", "mlflow", "tritonclient", "nbclient", "typing")


def imported(module: Path, *, lazily: bool) -> set[str]:
    """Return what of casa_env a module imports, inside functions too or not."""
    tree = ast.parse(module.read_text())
    nodes = ast.walk(tree) if lazily else iter(tree.body)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "casa_env":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("casa_env."):
                found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.split(".")[1]
                for alias in node.names
                if alias.name.startswith("casa_env.")
            }
    return found


def modules(repository: Path) -> list[Path]:
    return sorted((repository / "casa_env").glob("*.py"))


def file_systems(repository: Path) -> list[Path]:
    return sorted((repository / "casa_env" / "filesystems").glob("*.py"))


def test_modules_import_only_from_the_layers_below(repository: Path) -> None:
    height = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    upward = [
        f"{module.stem} imports {name}"
        for module in modules(repository)
        for name in imported(module, lazily=True)
        if height[name] >= height[module.stem]
    ]
    upward += [
        f"filesystems.{module.stem} imports {name}"
        for module in file_systems(repository)
        for name in imported(module, lazily=True) - {"filesystems"}
        if height[name] >= height["filesystems"]
    ]
    assert upward == []


def test_third_party_packages_are_imported_inside_functions(repository: Path) -> None:
    def outside(module: Path) -> set[str]:
        names = set()
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
        return names - sys.stdlib_module_names - {"casa_env"}

    assert {m.stem: outside(m) for m in modules(repository) if outside(m)} == {}


@pytest.mark.parametrize("module", ["casa_env", "casa_env.cli", "casa_env.settings"])
def test_importing_loads_nothing_heavy(module: str, repository: Path) -> None:
    heavy = HEAVY if module == "casa_env" else HEAVY[:-1]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_paths_needs_the_standard_library_only(repository: Path) -> None:
    code = "from casa_env.settings.places import can_write as w; print(w('/none'))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    assert dir(casa_env) == casa_env.__all__ == sorted(casa_env.__all__)
    for name in casa_env.__all__:
        assert getattr(casa_env, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'dask_custer'"):
        casa_env.dask_custer  # noqa: B018 - the access is the test


@pytest.mark.parametrize("module", ["errors", "settings", "clusters", "doctor", "cli"])
def test_every_module_lists_its_public_names(module: str) -> None:
    loaded = __import__(f"casa_env.{module}", fromlist=["__all__"])
    assert all(hasattr(loaded, name) for name in loaded.__all__)
