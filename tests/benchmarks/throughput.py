"""How fast the ttbar analysis is: tables of ratios, each measured within this run.

``make bench`` runs it. Nothing is asserted but that the version it is compared with
fills the same histograms: machines differ, and are shared. ``--profile`` shows where
the time goes instead.
"""

from __future__ import annotations

from benchmarks.measurement import on_one_core

on_one_core()  # before any library is loaded

import argparse  # noqa: E402
import importlib.metadata  # noqa: E402
import platform  # noqa: E402
import tempfile  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402

from agc.fast.skims import clear_skims  # noqa: E402
from agc.hists.compare import compare  # noqa: E402
from benchmarks.assignment import print_assignment  # noqa: E402
from benchmarks.breakdown import print_breakdown  # noqa: E402
from benchmarks.inputs import EVENTS, Input, cache_folder, description, inputs  # noqa: E402
from benchmarks.measurement import REPEATS, medians  # noqa: E402
from benchmarks.nanoevents_version import our_resolution, run_nanoevents  # noqa: E402
from benchmarks.ours import read_only, run_bare, run_columnar, run_ours  # noqa: E402
from benchmarks.processes import print_processes  # noqa: E402
from benchmarks.verdicts import verdict  # noqa: E402

#: What ours must reach of the speed of reading, by compression and process.
READING_TARGETS = {
    "zstd ttbar-like": 0.70,
    "zstd wjets-like": 0.90,
    "zlib ttbar-like": 0.90,
    "zlib wjets-like": 0.90,
    "lzma ttbar-like": 0.95,
    "lzma wjets-like": 0.95,
}
#: ... and of the version with a pass per variation, for zstd.
NANOEVENTS_TARGET = 8.0
#: ... and of it what the columnar processor must reach.
COLUMNAR_TARGET = 2.3
#: ... and, with a skim of it there, of the run that made the skim.
SKIM_TARGET = 20.0


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profile", action="store_true", help="show where time goes")
    arguments = parser.parse_args()
    files, other = inputs(cache_folder())
    names = ("coffea", "uproot", "awkward", "numba", "numpy")
    versions = (f"{name} {importlib.metadata.version(name)}" for name in names)
    print(f"Python {platform.python_version()}, {', '.join(versions)}; one core,")
    print(f"chunks of {EVENTS:,} events, medians of {REPEATS}, taking turns.\n")
    for file in files:
        print(description(file))
    print()
    if arguments.profile:
        for file in files[:2]:
            print_breakdown(file)
        return
    for file in files[:2]:
        print_equality(file)
    print_throughput(files)
    print("\nWith the skim cache, on the core:")
    for file in files:
        print_skims(file)
    print_assignment(files[:2])
    print_processes(files[0], other)


def print_equality(file: Input) -> None:
    """Stop unless the version with a pass per variation fills the same histograms."""
    theirs = run_nanoevents(file.fileset, chunksize=EVENTS, resolution=our_resolution)
    ours = run_ours(file).counts
    report = compare(ours, theirs)
    if not report.agree:
        msg = f"{file.label}: ours and the NanoEvents version differ: {report}"
        raise SystemExit(msg)
    shown = run_columnar(file).counts
    if any(
        (shown[name].view(flow=True) != ours[name].view(flow=True)).any()
        for name in ours
    ):
        msg = f"{file.label}: the kernel and the columnar processor differ"
        raise SystemExit(msg)
    print(f"{file.label}: ours against NanoEvents: {report}")


def print_throughput(files: list[Input]) -> None:
    """Print events per second of reading, of NanoEvents and of ours."""
    print("\nAll histograms, in kHz: 1000 events per second on the core")
    print(
        f"{'':16} {'reading':>9} {'NanoEvents':>11} {'ours':>7} {'ours, no':>9}  "
        f"{'ours /':>8} {'':22} {'ours /':>10} {'':21} {'wall /':>6}\n"
        f"{'':16} {'only':>9} {'':>11} {'':>7} {'Runner':>9}  "
        f"{'reading':>8} {'':22} {'NanoEvents':>10} {'':21} {'core':>6}"
    )
    columnar: list[str] = []
    for file in files:
        times = medians(
            {
                "reading": partial(read_only, file),
                "ours": partial(run_ours, file),
                "bare": partial(run_bare, file),
                "columnar": partial(run_columnar, file),
                "nanoevents": partial(run_nanoevents, file.fileset, chunksize=EVENTS),
            }
        )
        khz = {name: EVENTS / seconds.core / 1e3 for name, seconds in times.items()}
        of_reading = khz["ours"] / khz["reading"]
        gain = khz["ours"] / khz["nanoevents"]
        gain_verdict = verdict(gain, NANOEVENTS_TARGET)
        shown = khz["columnar"] / khz["nanoevents"]
        reached = verdict(shown, COLUMNAR_TARGET) if "zstd" in file.label else ""
        columnar.append(
            f"  {file.label:16} {khz['columnar']:7,.0f} kHz, "
            f"{shown:.1f} times NanoEvents {reached}"
        )
        noise = sum(x.wall for x in times.values()) / sum(
            x.core for x in times.values()
        )
        print(
            f"{file.label:16} {khz['reading']:9,.0f} {khz['nanoevents']:11,.0f} "
            f"{khz['ours']:7,.0f} {khz['bare']:9,.0f}  {of_reading:8.3f} "
            f"{verdict(of_reading, READING_TARGETS[file.label]):22} {gain:10.1f} "
            f"{gain_verdict if file.compression == 'zstd' else '':21} {noise:6.2f}",
            flush=True,
        )
    print("\nThe processor that agc-ttbar.ipynb shows, in the same turns:")
    print(*columnar, sep="\n", flush=True)


def print_skims(file: Input) -> None:
    """Print what a second run gains from the skims that the first one kept."""
    with tempfile.TemporaryDirectory() as folder:
        skims = Path(folder)

        def first() -> None:
            clear_skims(skims)
            run_ours(file, skims=skims)

        times = medians({"first": first, "again": partial(run_ours, file, skims=skims)})
        plain = run_ours(file)
        if run_ours(file, skims=skims).counts != plain.counts:
            msg = f"{file.label}: the histograms from skims are not those from the file"
            raise SystemExit(msg)
        gain = times["first"].core / times["again"].core
        print(
            f"  {file.label:16} first run {times['first'].core * 1e3:7.1f} ms, again "
            f"{times['again'].core * 1e3:5.1f} ms: {gain:6.1f} times faster "
            f"{verdict(gain, SKIM_TARGET) if 'wjets' in file.label else ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()
