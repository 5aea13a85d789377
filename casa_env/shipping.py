"""Code brought to workers: a local module or package, and extra packages as wheels."""

from __future__ import annotations

import hashlib
import importlib
import io
import sys
import tempfile
import zipfile
from collections.abc import Awaitable, Iterable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from casa_env.comparison import EXTRA_FOLDERS, shipped_to
from casa_env.errors import ShippingError
from casa_env.travel import plugin
from casa_env.wheels import fetched_wheels
from casa_env.worker_side import RECORD, contents, folder_digest, here

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["ship", "ship_packages"]

#: A zip file's dates begin then; ours are all the same, so that equal files make equal
#: archives.
_DATE: Final = (1980, 1, 1, 0, 0, 0)


def ship(client: Client, code: ModuleType | Path | str) -> Any:  # noqa: ANN401 - text, or an awaitable of it
    """Make a local module or package importable on every worker, now and later.

    It goes to the scheduler once, which gives it to each worker, also to those that
    join later. Call it again after a change: workers import the new files, and forget
    the old. On a laptop, and wherever workers see the same files, nothing is copied.
    On Binder workers are threads of the notebook, which has the code.

    Parameters
    ----------
    client
        The client, as from `casa_env.dask_client`.
    code
        A module, its name, or the path of a ``.py`` file or of a package's folder.

    Returns
    -------
    str
        The digest of the code: SHA-256 of names and contents. It is part of what
        `casa_env.compare_environments` compares. With an asynchronous client, await it.

    Raises
    ------
    ShippingError
        If there is no such code, or a worker cannot import it. A worker that joins
        later and cannot import it closes, and the notebook is told why.

    Examples
    --------
    >>> ship(client, "agc")  # doctest: +SKIP
    """
    place = _place(code)
    name = place.stem
    if not name.isidentifier():
        what = f"The name {place.name!r} cannot be imported."
        step = "Ship a .py file, or a package's folder, that Python can name."
        raise ShippingError(what, looked_at=str(place), next_step=step)
    if place.is_dir() and not (place / "__init__.py").is_file():
        what = f"{place.name} is a folder, but no package."
        step = "Add an __init__.py, or ship one of its modules."
        raise ShippingError(what, looked_at=str(place), next_step=step)
    archive = _archive(contents(place))
    inside = folder_digest(place)
    digest = f"{hashlib.sha256(archive).hexdigest()}+{inside}"
    sent = _send(client, name, digest, archive, imports=(name,), shown=inside)
    return client.sync(_awaited, sent)  # type: ignore[no-untyped-call]


def ship_packages(client: Client, requirements: Path | str) -> Any:  # noqa: ANN401 - text, or an awaitable of it
    """Make extra packages importable here and on every worker, now and later.

    A list that pins each package with its hashes, as ``pip-compile`` and ``uv export``
    write it, is downloaded once, here, as wheels. The wheels go to the scheduler once;
    a worker unpacks them, and installs nothing. Of a package that the environment has
    already, the environment's version stays the one that counts.

    Parameters
    ----------
    client
        The client, as from `casa_env.dask_client`.
    requirements
        The list: a file. Every line has ``==`` and ``--hash``; nothing that is not on
        it is downloaded.

    Returns
    -------
    str
        The digest of the packages, part of what is compared. With an asynchronous
        client, await it.

    Raises
    ------
    MissingPackageError
        If `pip` is not installed.
    ShippingError
        If the list is not pinned, a hash is wrong, or a package has no wheel.

    Notes
    -----
    Settings of pip hold: ``PIP_INDEX_URL``, ``PIP_FIND_LINKS``, ...
    """
    with tempfile.TemporaryDirectory(prefix="casa-env-") as folder:
        wheels = fetched_wheels(Path(requirements), Path(folder))
        archive = _archive(_unpacked(wheels))
    digest = hashlib.sha256(archive).hexdigest()
    # Here too: what a notebook sends refers to what it has imported itself.
    target = Path(tempfile.mkdtemp(prefix="casa-env-packages-"))
    with zipfile.ZipFile(io.BytesIO(archive)) as content:
        content.extractall(target)
    sys.path.append(str(target))
    EXTRA_FOLDERS.append(str(target))
    importlib.invalidate_caches()
    name = f"packages-{Path(requirements).stem}"
    sent = _send(client, name, digest, archive, imports=(), shown=digest)
    return client.sync(_awaited, sent)  # type: ignore[no-untyped-call]


async def _awaited(sent: Awaitable[str]) -> str:
    """Await, in the client's event loop."""
    return await sent


async def _send(
    client: Client,
    name: str,
    digest: str,
    archive: bytes,
    *,
    imports: tuple[str, ...],
    shown: str,
) -> str:
    """Register what brings the code; what a worker says of it is said here."""
    from distributed.protocol.pickle import dumps

    bring = plugin(
        "Code",
        tag=name,
        label=name,
        digest=digest,
        archive=archive,
        imports=imports,
        home=here(),
    )
    depot = plugin("Depot", tag=f"{name}-{digest[:16]}", payload=dumps(bring))  # type: ignore[no-untyped-call]
    try:
        await client.register_plugin(depot)
        await client.unregister_scheduler_plugin(depot.name)
    except Exception as err:
        what = f"{name} cannot be imported on the workers: {type(err).__name__}: {err}"
        step = "Mend it, and ship it again; extra packages: casa_env.ship_packages."
        raise ShippingError(what, next_step=step) from err
    shipped_to(client)[name] = digest
    sys.__dict__.setdefault(RECORD, {})[name] = digest
    return shown


def _place(code: ModuleType | Path | str) -> Path:
    """Return the file or the folder of some code."""
    if isinstance(code, str) and (code.isidentifier() and not Path(code).exists()):
        code = _named(code)
    elif isinstance(code, str):
        code = Path(code)
    if isinstance(code, ModuleType):
        code = _named(code.__name__)
    place = code.resolve()
    if not place.is_dir() and place.suffix != ".py":
        what = "There is no such module or package to ship."
        step = "Give a module, its name, a .py file, or a package's folder."
        raise ShippingError(what, looked_at=str(place), next_step=step)
    if place.suffix == ".py" and not place.is_file():
        what = "There is no such file to ship."
        raise ShippingError(what, looked_at=str(place), next_step="Check the path.")
    return place


def _named(name: str) -> Path:
    """Return the place of a top-level module or package by its name."""
    name = name.partition(".")[0]
    spec = find_spec(name)
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        what = f"There is no module {name!r} of Python files to ship."
        step = "Give the path of its folder."
        raise ShippingError(what, looked_at="sys.path", next_step=step)
    origin = Path(spec.origin)
    return origin.parent if spec.submodule_search_locations else origin


def _archive(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a zip archive that is the same for the same files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in sorted(files):
            about = zipfile.ZipInfo(name, _DATE)
            archive.writestr(about, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _unpacked(wheels: Iterable[Path]) -> Iterable[tuple[str, bytes]]:
    """Yield the files of wheels as they lie once installed, programs left out."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                first, _, rest = name.partition("/")
                if first.endswith(".data"):
                    kind, _, name = rest.partition("/")  # noqa: PLW2901 - the same file
                    if kind not in ("purelib", "platlib"):
                        continue
                if name and not name.endswith("/"):
                    yield name, archive.read(f"{first}/{rest}" if rest else first)
