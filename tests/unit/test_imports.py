"""The house: how large it is, what it exports, and which way its imports go."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import casa_env

#: Lines of casa_env, docstrings and blank ones counted: they go up only with a reason
#: in the commit that raises them.
BUDGET_LINES = 6_626
BUDGET_FILES = 33
BUDGET_NAMES = 20

#: The layers, the lowest first: a part imports from layers below its own, and within
#: itself without a circle.
LAYERS = (
    {"errors", "network"},
    {"settings"},
    {"data"},
    {"tokens"},
    {"workers"},
    {"models", "parameters"},
    {"lab", "doctor", "running"},
    {"cli"},
)

#: The table of contents, and what ``python -m casa_env`` runs.
DOORS = {"__init__", "__main__"}

HEAVY = ("numpy", "dask", "distributed", "mlflow", "tritonclient", "nbclient", "typing")


def modules(repository: Path) -> dict[str, Path]:
    """Return every module of casa_env by its dotted name below the package."""
    folder = repository / "casa_env"
    return {
        ".".join(path.relative_to(folder).with_suffix("").parts): path
        for path in sorted(folder.rglob("*.py"))
    }


def imported(path: Path) -> Iterator[str]:
    """Yield what of casa_env a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            package, _, rest = node.module.partition(".")
            if package == "casa_env":
                names = [alias.name for alias in node.names]
                yield from [f"{rest}.{name}" if rest else name for name in names]
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("casa_env."):
                    yield alias.name.removeprefix("casa_env.")


def targets(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules, or packages, that a module imports from."""
    found = set()
    for name in imported(path):
        parts = name.split(".")
        while parts and not {".".join(parts), ".".join([*parts, "__init__"])} & {
            *known
        }:
            parts.pop()
        target = ".".join(parts)
        found.add(target if target in known else f"{target}.__init__")
    return found


def test_the_package_stays_within_its_budget(repository: Path) -> None:
    lines = {
        name: len(path.read_text().splitlines())
        for name, path in modules(repository).items()
    }
    assert sum(lines.values()) <= BUDGET_LINES
    assert len(lines) <= BUDGET_FILES + 7  # and the packages' own __init__
    assert len(casa_env.__all__) <= BUDGET_NAMES
    assert len(LAYERS) <= 8


def test_imports_go_downward_and_never_in_a_circle(repository: Path) -> None:
    known = modules(repository)
    height = {part: i for i, layer in enumerate(LAYERS) for part in layer}
    graph = {name: targets(path, known) for name, path in known.items()}
    graph["__init__"] = set()  # it imports a name when it is first used
    upward = [
        f"{name} imports {target}"
        for name, found in graph.items()
        for target in found
        for part, other in [(name.split(".")[0], target.split(".")[0])]
        if part not in DOORS and part != other and height[other] >= height[part]
    ]
    assert upward == []
    list(graphlib.TopologicalSorter(graph).static_order())  # raises for a circle


def test_third_party_packages_are_imported_inside_functions(repository: Path) -> None:
    def outside(module: Path) -> set[str]:
        names = set()
        for node in ast.parse(module.read_text()).body:
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").split(".")[0])
            elif isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
        return names - sys.stdlib_module_names - {"casa_env"}

    found = {name: outside(path) for name, path in modules(repository).items()}
    assert {name: names for name, names in found.items() if names} == {}


@pytest.mark.parametrize("module", ["casa_env", "casa_env.cli", "casa_env.settings"])
def test_importing_loads_nothing_heavy(module: str, repository: Path) -> None:
    heavy = HEAVY if module == "casa_env" else HEAVY[:-1]
    code = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    assert bare_python(code, repository) == "[]"


def test_places_needs_the_standard_library_only(repository: Path) -> None:
    code = "from casa_env.settings.places import can_write as w; print(w('/none'))"
    assert bare_python(code, repository) == "False"


def bare_python(code: str, repository: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    assert dir(casa_env) == casa_env.__all__ == sorted(casa_env.__all__)
    for name in casa_env.__all__:
        assert getattr(casa_env, name).__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'dask_custer'"):
        casa_env.dask_custer  # noqa: B018 - the access is the test
