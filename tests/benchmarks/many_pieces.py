"""What thousands of pieces cost beside their work: time, and memory of the scheduler.

``PYTHONPATH=notebooks:tests python -m benchmarks.many_pieces``
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
from coffea.processor import DaskExecutor

import casa_env
from agc.hists.fill import dataset_histograms
from agc.hists.run import run_analysis
from agc.hists.tasks import found_in, tally_of
from benchmarks.verdicts import verdict
from support.notebook import ttbar_namespace

if TYPE_CHECKING:
    from agc.inputs.config import Config
    from agc.inputs.pieces import Piece

WORKERS = 2
PIECES = (10, 100, 1000, 10_000)
PIECES_PER_FILE = 10
EVENTS = 1000
#: What a piece of so many events takes, in seconds: `benchmarks.real_shapes`.
WORK_S = 0.044
#: Wall time by the sum of the work divided by the workers; growth by histograms, in MB.
TIME_TARGET, GROWTH_TARGET_MB = 1.3, 50
#: Histograms of an analysis, and of one with many.
HISTOGRAMS = (2, 22)


@dataclass
class Simulated:
    """Fills nothing, in the time that a real piece takes."""

    config: Config
    whole_files: bool = False

    def tally(self, piece: Piece, chunksize: int | None) -> dict[str, Any]:
        """Return a piece's tally: histograms as large as real ones."""
        begin = time.perf_counter()
        output = {
            "histograms": dataset_histograms(self.config, *piece.sample),
            "cutflow": {"all": EVENTS},
        }
        time.sleep(max(0.0, WORK_S - (time.perf_counter() - begin)))
        tally = tally_of(piece.sample, output, n_events=EVENTS, n_bytes=0)
        entries = EVENTS * PIECES_PER_FILE if chunksize else None
        return found_in(piece, tally, entries, begin)


def fileset(pieces: int) -> dict[str, Any]:
    """Return files of ten pieces each."""
    files = {
        f"/store/nowhere/{i}.root": "Events" for i in range(pieces // PIECES_PER_FILE)
    }
    return {"ttbar": {"files": files, "metadata": {"process": "ttbar", "xsec_pb": 1.0}}}


def main() -> None:
    """Print the table; how many pieces, if not the usual, are the arguments."""
    chosen = tuple(map(int, sys.argv[1:])) or PIECES
    print(f"\nMany pieces of {WORK_S} s on {WORKERS} workers")
    client = casa_env.dask_client(workers=WORKERS, threads=1)
    casa_env.ship(client, "agc")
    grown: dict[int, float] = {}
    for n_histograms in HISTOGRAMS:
        names = ttbar_namespace()
        config = names["processor"].config
        for i in range(n_histograms - len(config.variables)):
            config.add_variable(
                f"more{i}", names["ht"], region="4j1b", bins=(25, 50, 550)
            )
        run(client, config, 10)  # the workers import what they need
        for pieces in chosen:
            before = psutil.Process().memory_info().rss
            wall = run(client, config, pieces)
            grown[n_histograms] = (psutil.Process().memory_info().rss - before) / 1e6
            ratio = wall / (pieces * WORK_S / WORKERS)
            print(
                f"  {n_histograms:2d} histograms, {pieces:6,} pieces: {wall:6.1f} s, "
                f"{ratio:.2f} of the work alone "
                f"{verdict(ratio, TIME_TARGET, at_most=True)}, "
                f"{grown[n_histograms]:+.0f} MB in notebook and scheduler",
                flush=True,
            )
    client.close()
    more = grown[HISTOGRAMS[1]] - grown[HISTOGRAMS[0]]
    print(
        f"  more memory with more histograms: {more:.0f} MB "
        f"{verdict(more, GROWTH_TARGET_MB, at_most=True)}"
    )


def run(client: Any, config: Config, pieces: int) -> float:
    """Return how long a run takes, in seconds."""
    begin = time.perf_counter()
    result = run_analysis(
        fileset(pieces),
        Simulated(config),
        DaskExecutor(client=client, status=False),
        chunksize=EVENTS,
    )
    assert result.metrics.events == pieces * EVENTS
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
