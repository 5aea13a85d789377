"""What agc-ttbar-rdataframe.ipynb's analysis does with good and bad files; in JSON.

Run as a program by the Python of the environment with ROOT: a folder, the URL of a
file of its on an XRootD server, and real files.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from coffea.processor import IterativeExecutor

import casa_env
from agc.errors import AnalysisError
from agc.hists.rdataframe import run_rdataframe
from agc.ttbar.config import ttbar_config
from agc.ttbar.runs import run_ttbar
from support.nanoaod import fileset_of, random_events, write_file
from support.notebook import NOTEBOOKS, analysis_code, run_code

DATASET = "ttbar__nominal"


def rdataframe(
    files: list[str], dataset: str = DATASET, *, cut: str = "true", **options: Any
) -> Any:
    """Run the notebook's graph, behind one more cut."""
    notebooks = run_code(analysis_code("agc-ttbar-rdataframe"))["ttbar_graph"]

    def graph(frame: Any, labels: tuple[str, ...]) -> Any:
        return notebooks(frame.Filter(cut), labels)

    header = NOTEBOOKS / "agc" / "ttbar" / "rdataframe.h"
    fileset = fileset_of({dataset: files})
    return run_rdataframe(fileset, graph, ttbar_config(), header=header, **options)


def coffea(file: str, dataset: str = DATASET) -> Any:
    """Run coffea's version."""
    executor = IterativeExecutor(status=False)
    return run_ttbar(fileset_of({dataset: [file]}), executor)


def same(one: Any, other: Any) -> bool:
    """Tell whether all bins of all histograms have the same contents."""
    pairs = [(one.counts[name], other.counts[name]) for name in ("4j1b", "4j2b")]
    return all(
        np.array_equal(a.view(flow=True)["value"], b.view(flow=True)["value"])
        for a, b in pairs
    )


def refused(*files: str) -> str:
    """Return the error that some files lead to."""
    try:
        rdataframe(list(files))
    except AnalysisError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def without_a_worker(file: str, expected: Any) -> dict[str, Any]:
    """Kill a worker in the middle, then each that begins; what becomes of the runs."""
    begin = time.monotonic()
    with casa_env.dask_client(workers=2) as client:
        pids = list(client.run(os.getpid).values())
        killer = threading.Timer(2.0, os.kill, (pids[0], signal.SIGKILL))
        killer.start()
        said: dict[str, Any] = {}
        try:
            found = rdataframe([file], executor=client, chunksize=500, cores=2)
            said["same"] = same(found, expected)
        except AnalysisError as error:
            said["error"] = str(error)
        killer.join()
        said["seconds"] = time.monotonic() - begin
        client.cluster.scheduler.allowed_failures = 0  # one is enough to see
        try:
            rdataframe([file], executor=client, cut="::raise(9) == 0")
        except AnalysisError as error:
            said["deadly"] = str(error)
    return said


def main(folder: Path, url: str, *real: str) -> None:
    """Do all of it."""
    import ROOT

    ROOT.gEnv.SetValue("Path.ForceRemote", 1)  # a loopback URL is no local file
    good = write_file(folder / "good.root", random_events(3000))
    by_coffea = coffea(good)
    by_root = rdataframe([good])
    selected = by_root.counts["4j2b"].sum(flow=True).value
    said: dict[str, Any] = {"selected": selected, "same": same(by_root, by_coffea)}
    wjets = coffea(good, "wjets__nominal")
    said["wjets"] = same(rdataframe([good], "wjets__nominal"), wjets)
    said["remote"] = same(rdataframe([url]), by_coffea)
    encoded = folder / "a b" / "good.root"  # as a URL, with %20
    encoded.parent.mkdir()
    encoded.hardlink_to(good)
    said["encoded"] = same(rdataframe([encoded.as_uri()]), by_coffea)
    said["real"] = [same(rdataframe([file]), coffea(file)) for file in real]
    (folder / "text.root").write_text("this is not a ROOT file\n" * 50)
    with uproot.recreate(folder / "other.root") as file:
        file["Events"] = {"run": np.arange(3)}
    with uproot.recreate(folder / "ntuple.root") as file:
        columns = uproot.open(good)["Events"].arrays(how=dict)
        file.mkrntuple("Events", columns)
    said["refused"] = {
        "missing": refused(good, str(folder / "nowhere.root")),
        "text": refused(good, str(folder / "text.root")),
        "branch": refused(good, str(folder / "other.root")),
        "kinds": refused(good, str(folder / "ntuple.root")),
        "https": refused("https://localhost:1/f.root"),
    }
    said["killed"] = without_a_worker(good, by_coffea)
    said["xrootd"] = find_spec("XRootD") is not None
    print(json.dumps(said))  # noqa: T201 - the program's answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
