"""Files as wide as real NanoAOD: what 947 branches cost an analysis that reads 18.

The schema is that of the NanoAOD of 2015 in shape: of 947 branches, 500 are flags of an
event and the others numbers of it or lists of numbers. Those that are not read hold
zeros, which cost a reader nothing but their description.
"""

from __future__ import annotations

from benchmarks.measurement import on_one_core

on_one_core()  # before any library is loaded

import shutil  # noqa: E402
import tempfile  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import uproot  # noqa: E402
from coffea.processor import IterativeExecutor  # noqa: E402

from agc.fast.columns import BRANCHES  # noqa: E402
from agc.inputs.filesets import TREE, Fileset  # noqa: E402
from agc.standin.files import Columns, read_columns  # noqa: E402
from agc.ttbar.runs import TtbarResult, run_ttbar  # noqa: E402
from benchmarks.enlarged import COLLECTIONS, EVENTS  # noqa: E402
from benchmarks.inputs import (  # noqa: E402
    COMPRESSIONS,
    Input,
    cache_folder,
    inputs,
    written,
)
from benchmarks.measurement import medians  # noqa: E402
from benchmarks.verdicts import verdict  # noqa: E402
from support.notebook import ttbar_namespace  # noqa: E402

N_BRANCHES, N_FLAGS = 947, 500
PIECES = 5
N_FILES, EVENTS_PER_FILE = 100, 1000
#: Targets: of the speed with 28 branches; seconds for a small file.
KERNEL_TARGET, COLUMNAR_TARGET, FILE_TARGET_S = 0.9, 0.95, 0.12
REPEATS = 3


def write_wide(path: Path, columns: Columns, compression: str) -> None:
    """Write columns as `benchmarks.inputs.write`, among others without content."""
    n_events = len(columns["event"])
    extra: Columns = {
        f"HLT_Path{i}": np.zeros(n_events, dtype=bool) for i in range(N_FLAGS)
    }
    names = {name: list(fields) for name, fields in COLLECTIONS.items()}
    there = len(extra) + sum(len(fields) + 1 for fields in names.values()) + 3
    for i in range(N_BRANCHES - there):
        collection = ("Electron", "Muon", "Jet", "")[i % 4]
        if collection:
            names[collection].append(f"extra{i}")
            size = columns[f"n{collection}"].sum()
        else:
            size = n_events
        extra[f"{collection or 'Event'}_extra{i}"] = np.zeros(size, dtype=np.float32)
    written(path, columns | extra, compression, names, unread=extra)


def pieces(fileset: Fileset, chunksize: int, *, columnar: bool) -> TtbarResult:
    """Run the analysis on one core."""
    engine = ttbar_namespace()["processor"] if columnar else None
    executor = IterativeExecutor(status=False)
    return run_ttbar(fileset, executor, chunksize=chunksize, engine=engine)


def main() -> None:
    """Print the tables."""
    files, _ = inputs(cache_folder())
    print(f"\nReal shapes: {N_BRANCHES} branches, {PIECES} pieces, kHz on the core")
    for compression in COMPRESSIONS:
        narrow = next(
            file for file in files if file.label == f"{compression} ttbar-like"
        )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "wide.root"
            columns = read_columns(Path(narrow.path))
            write_wide(path, columns, compression)
            with uproot.open(path) as file:
                assert len(file[TREE].keys()) == N_BRANCHES
            print_pieces(narrow, Input(narrow.sample, compression, str(path)))
            if compression == "zstd":
                print_files(columns, Path(folder))


def print_pieces(narrow: Input, wide: Input) -> None:
    """Compare the same events in a narrow and in a wide file, and their histograms."""
    size = EVENTS // PIECES
    for columnar, target in ((False, KERNEL_TARGET), (True, COLUMNAR_TARGET)):
        run = partial(pieces, chunksize=size, columnar=columnar)
        one, two = run(narrow.fileset).counts, run(wide.fileset).counts
        assert all(one[name] == two[name] for name in one)
        times = medians(
            {
                "narrow": partial(run, narrow.fileset),
                "wide": partial(run, wide.fileset),
            },
            REPEATS,
        )
        khz = {name: EVENTS / seconds.core / 1e3 for name, seconds in times.items()}
        ratio = khz["wide"] / khz["narrow"]
        print(
            f"  {narrow.compression} {'columnar' if columnar else 'kernel':8} "
            f"{khz['narrow']:6,.0f} with {len(BRANCHES) + len(COLLECTIONS)} read, "
            f"{khz['wide']:6,.0f} among {N_BRANCHES}: {ratio:.2f} "
            f"{verdict(ratio, target)}",
            flush=True,
        )


def print_files(columns: Columns, folder: Path) -> None:
    """Time many small files."""
    offsets = {
        name: columns[f"n{name}"][:EVENTS_PER_FILE].sum() for name in COLLECTIONS
    }
    few = {
        name: values[: offsets.get(name.partition("_")[0], EVENTS_PER_FILE)]
        for name, values in columns.items()
    }
    write_wide(folder / "small.root", few, "zstd")
    copies = [folder / f"small{i}.root" for i in range(N_FILES)]
    for copy in copies:
        shutil.copyfile(folder / "small.root", copy)
    fileset = Input("ttbar__nominal", "zstd", "").fileset
    (dataset,) = fileset.values()
    dataset["files"] = {str(copy): TREE for copy in copies}
    dataset["nevts"] = {str(copy): EVENTS_PER_FILE for copy in copies}
    times = medians({"files": partial(pieces, fileset, EVENTS, columnar=False)}, 1)
    each = times["files"].core / N_FILES
    print(
        f"  {N_FILES} files of {EVENTS_PER_FILE} events: {each:.3f} s a file and core "
        f"{verdict(each, FILE_TARGET_S, at_most=True)}",
        flush=True,
    )


if __name__ == "__main__":
    main()
