"""Small NanoAOD-like events and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from agc.fast.columns import BRANCHES

COLLECTIONS = ("Electron", "Muon", "Jet")


def events_from(rows: list[dict[str, Any]]) -> ak.Array:
    """Make events from rows: a list of records for each collection, and the ids."""
    columns: dict[str, ak.Array] = {}
    for collection in COLLECTIONS:
        fields = {}
        for branch, dtype in BRANCHES.items():
            if branch.startswith(collection + "_"):
                field = branch.removeprefix(collection + "_")
                lists = [[obj[field] for obj in row[collection]] for row in rows]
                flat = np.asarray([x for one in lists for x in one], dtype=dtype)
                fields[field] = ak.unflatten(flat, [len(one) for one in lists])
        columns[collection] = ak.zip(fields)
    for name in ("run", "luminosityBlock", "event"):
        columns[name] = ak.Array(
            np.asarray([row[name] for row in rows], BRANCHES[name])
        )
    return ak.zip(columns, depth_limit=1)


def random_events(n: int, seed: int = 1, *, max_jets: int = 9) -> ak.Array:
    """Make events of which a good part passes the selection."""
    rng = np.random.default_rng(seed)
    rows = []
    for e in range(n):
        n_electrons, n_muons = rng.choice([0, 1, 2], p=[0.4, 0.5, 0.1], size=2)
        rows.append(
            {
                "run": 1,
                "luminosityBlock": 1 + e // 100,
                "event": 1000 + e,
                "Electron": [
                    {
                        "pt": rng.exponential(20) + 20,
                        "eta": rng.normal(0, 1.2),
                        "cutBased": rng.choice([2, 4], p=[0.2, 0.8]),
                        "sip3d": rng.exponential(1),
                    }
                    for _ in range(n_electrons)
                ],
                "Muon": [
                    {
                        "pt": rng.exponential(20) + 20,
                        "eta": rng.normal(0, 1.2),
                        "tightId": rng.random() < 0.8,
                        "sip3d": rng.exponential(1),
                        "pfRelIso04_all": rng.exponential(0.05),
                    }
                    for _ in range(n_muons)
                ],
                "Jet": [
                    {
                        "pt": rng.exponential(40) + 22,
                        "eta": rng.normal(0, 1.3),
                        "phi": rng.uniform(-np.pi, np.pi),
                        "mass": rng.exponential(8),
                        "btagCSVV2": rng.random(),
                        "jetId": rng.choice([0, 2, 6], p=[0.05, 0.05, 0.9]),
                    }
                    for _ in range(rng.integers(0, max_jets + 1))
                ],
            }
        )
    return events_from(rows)


def write_file(
    path: Path, events: ak.Array, *, tree: str = "Events", compression: object = None
) -> str:
    """Write events as a NanoAOD-like tree; return the path as filesets name it."""
    options = {} if compression is None else {"compression": compression}
    with uproot.recreate(path, **options) as file:
        columns = {name: events[name] for name in events.fields}
        file.mktree(tree, {name: column.type for name, column in columns.items()})
        file[tree].extend(columns)
    return str(path)


def read_file(path: str, *, tree: str = "Events") -> ak.Array:
    """Read a NanoAOD-like file back into the shape of `events_from`."""
    with uproot.open(path) as file:
        arrays = file[tree].arrays(list(BRANCHES))
    columns = {
        collection: ak.zip(
            {
                branch.removeprefix(collection + "_"): arrays[branch]
                for branch in BRANCHES
                if branch.startswith(collection + "_")
            }
        )
        for collection in COLLECTIONS
    }
    for name in ("run", "luminosityBlock", "event"):
        columns[name] = arrays[name]
    return ak.zip(columns, depth_limit=1)


def fileset_of(
    files: dict[str, list[str]], *, tree: str = "Events", nevts: int = 1000
) -> dict[str, Any]:
    """Make a fileset: dataset name -> its files."""
    from agc.inputs.samples import sample_named

    return {
        dataset: {
            "files": dict.fromkeys(paths, tree),
            "metadata": {
                "process": sample_named(dataset).process,
                "variation": sample_named(dataset).variation,
                "xsec_pb": sample_named(dataset).xsec_pb,
            },
            "nevts": dict.fromkeys(paths, nevts),
        }
        for dataset, paths in files.items()
    }
