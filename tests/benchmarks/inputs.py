"""The benchmark's input files: made once for each recipe, kept in the user's cache."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from agc.fast.columns import BRANCHES
from agc.inputs.filesets import STANDIN_FOLDER, TREE, Fileset
from agc.inputs.samples import sample_named
from agc.standin.files import Columns, read_columns
from benchmarks import enlarged
from benchmarks.enlarged import COLLECTIONS, EVENTS, TTBAR, WJETS, Mixture

#: After so many seconds the files of another recipe are not wanted any more.
UNUSED_S = 86_400.0

#: ROOT's default level of zstd and zlib. LZMA's 9, NanoAOD's own, is read as fast as
#: its 1, in 7 % fewer bytes, and takes three times as long to write.
COMPRESSIONS = {"zstd": uproot.ZSTD(5), "zlib": uproot.ZLIB(1), "lzma": uproot.LZMA(1)}

#: CMS closes a cluster after 10 MB (``autoFlush=-10000000``): at about 100 bytes an
#: event these are 100,000 events, one basket for each branch.
EVENTS_PER_CLUSTER = 100_000


@dataclass(frozen=True)
class Input:
    """One file."""

    sample: str
    """The sample its events are like, for example ``"ttbar__nominal"``."""
    compression: str
    """Key of `COMPRESSIONS`."""
    path: str

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.compression} {sample_named(self.sample).process}-like"

    @property
    def fileset(self) -> Fileset:
        """The file as `agc.ttbar.runs.run_ttbar` wants it."""
        sample = sample_named(self.sample)
        return {
            sample.name: {
                "files": {self.path: TREE},
                "metadata": {
                    "process": sample.process,
                    "variation": sample.variation,
                    "xsec_pb": sample.xsec_pb,
                },
                "nevts": {self.path: EVENTS},
            }
        }


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the files go: the user's cache, else the temporary folder."""
    base = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "casa-benchmarks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"casa-benchmarks-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def inputs(folder: Path) -> tuple[list[Input], Input]:
    """Return the files, one for each compression and sample, and one more.

    The one more is a second ttbar-like zstd file with other events, for two processes.
    Files that another recipe made are removed when nobody has used them for a day.
    """
    here = folder / _recipe()
    if not here.is_dir():
        for old in folder.iterdir():
            if old.stat().st_mtime < time.time() - UNUSED_S:
                shutil.rmtree(old, ignore_errors=True)
        begin = time.perf_counter()
        print(f"making the inputs, once, in {here} ...", flush=True)
        part = Path(tempfile.mkdtemp(dir=folder))
        try:
            _make(part)
            if not here.is_dir():  # another run may have been faster
                part.rename(here)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        print(f"... in {time.perf_counter() - begin:.0f} s\n")
    os.utime(here)
    files = [
        Input(mixture.sample, compression, str(here / _name(mixture, compression, 1)))
        for compression in COMPRESSIONS
        for mixture in (TTBAR, WJETS)
    ]
    return files, Input(TTBAR.sample, "zstd", str(here / _name(TTBAR, "zstd", 2)))


def _recipe() -> str:
    """Return a digest of all that decides what the files hold."""
    digest = hashlib.sha256()
    digest.update(Path(enlarged.__file__).read_bytes())
    for function in (_make, write, written):
        digest.update(inspect.getsource(function).encode())
    settings = [repr(COMPRESSIONS), EVENTS_PER_CLUSTER]
    digest.update(json.dumps([*settings, uproot.__version__, np.__version__]).encode())
    for mixture in (TTBAR, WJETS):
        digest.update((STANDIN_FOLDER / f"{mixture.sample}.root").read_bytes())
    return digest.hexdigest()[:16]


def _name(mixture: Mixture, compression: str, seed: int) -> str:
    return f"{mixture.sample}-{compression}-{seed}.root"


def _make(folder: Path) -> None:
    for mixture in (TTBAR, WJETS):
        shipped = read_columns(STANDIN_FOLDER / f"{mixture.sample}.root")
        columns = enlarged.enlarge(shipped, mixture, seed=1)
        for compression in COMPRESSIONS:
            write(folder / _name(mixture, compression, 1), columns, compression)
        if mixture is TTBAR:
            columns = enlarged.enlarge(shipped, mixture, seed=2)
            write(folder / _name(mixture, "zstd", 2), columns, "zstd")


def write(path: Path, columns: Columns, compression: str) -> None:
    """Write columns as NanoAOD's tree, one basket a branch and cluster."""
    written(path, columns, compression, COLLECTIONS)


def written(
    path: Path,
    columns: Columns,
    compression: str,
    collections: Mapping[str, Sequence[str]],
    unread: Iterable[str] = (),
) -> None:
    """Write columns with these fields of collections, and all that belong to none.

    Branches that are not read take zstd: LZMA has 64 MB to set up for each basket.
    """
    arrays: dict[str, Any] = {
        collection: ak.zip(
            {
                field: ak.unflatten(
                    columns[f"{collection}_{field}"], columns[f"n{collection}"]
                )
                for field in fields
            }
        )
        for collection, fields in collections.items()
    }
    others = {f"n{name}" for name in collections} | {
        f"{name}_{field}" for name, fields in collections.items() for field in fields
    }
    arrays |= {name: columns[name] for name in columns if name not in others}
    types = {
        name: array.type.content if isinstance(array, ak.Array) else array.dtype
        for name, array in arrays.items()
    }
    with uproot.recreate(path, compression=COMPRESSIONS[compression]) as file:
        tree = file.mktree(TREE, types, counter_name=lambda name: f"n{name}")
        for name in unread:
            tree[name].compression = COMPRESSIONS["zstd"]
        for start in range(0, len(columns["event"]), EVENTS_PER_CLUSTER):
            cluster = slice(start, start + EVENTS_PER_CLUSTER)
            tree.extend({name: array[cluster] for name, array in arrays.items()})


def description(file: Input) -> str:
    """Return one line: what the file holds and what of it the analysis reads."""
    read = [*BRANCHES, *(f"n{collection}" for collection in COLLECTIONS)]
    columns = read_columns(Path(file.path))
    with uproot.open(file.path) as root_file:
        tree = root_file[TREE]
        compressed = sum(tree[name].compressed_bytes for name in read)
        clusters = tree["Jet_pt"].num_baskets
    means = ", ".join(
        f"{columns[f'n{name}'].mean():.2f} {name.lower()}s" for name in COLLECTIONS
    )
    return (
        f"{file.label}: {EVENTS:,} events in {clusters} clusters, "
        f"{compressed / EVENTS:.0f} B/event read; {means}; "
        f"one lepton {enlarged.one_lepton(columns).mean():.1%}, "
        f"passing {enlarged.passes(columns).mean():.3%}"
    )
