"""agc-ttbar.ipynb from its first cell to its last, with what an analyst adds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from support.nanoaod import random_events, write_file

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
CONFIGURED = """
config.add_variable("leading_jet_pt", lambda events: events.Jet.pt[:, 0],
    region="4j1b", bins=(25, 30, 430), label="Leading jet $p_T$ [GeV]")
config.add_systematic("slope", lambda events: 1 + 0.0002 * events.Jet.pt[:, 0])
config.add_process("wz", label="WZ")
config.fit_channels["leading_jet_pt"] = config.fit_channels.pop("4j1b")
config.fit_channels["leading_jet_pt"] = Channel(low=46.0, merged=3)
"""
LISTED = """
fileset["wz"] = {"files": {FILE: "Events"},
    "metadata": {"process": "wz", "xsec_pb": 5.0}}
"""


@pytest.mark.slow
def test_what_is_added_reaches_the_fit_and_its_plots(tmp_path: Path) -> None:
    file = write_file(tmp_path / "own.root", random_events(2000))
    notebook = nbformat.read(NOTEBOOKS / "agc-ttbar.ipynb", as_version=4)
    for cell in notebook.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source += f"\nOUTPUT_FOLDER = {str(tmp_path / 'results')!r}"
        if cell.source.startswith("config = ttbar_config()"):
            cell.source += "\nfrom agc.inputs.config import Channel" + CONFIGURED
        if cell.source.startswith("fileset = ttbar_fileset("):
            cell.source += LISTED.replace("FILE", repr(file))
    place = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, resources=place, timeout=600).execute()
    workspace = json.loads((tmp_path / "results/workspace.json").read_text())
    channels = {channel["name"]: channel for channel in workspace["channels"]}
    assert set(channels) == {"4j2b", "leading_jet_pt"}
    samples = {s["name"]: s for s in channels["leading_jet_pt"]["samples"]}
    assert sum(samples["wz"]["data"]) > 0
    assert "slope" in {m["name"] for m in samples["ttbar"]["modifiers"]}
    for name in ("observable", "variations", "prefit", "postfit"):
        assert (tmp_path / f"results/{name}_leading_jet_pt.png").exists()
    shown = str(notebook.cells)
    assert "not compared" in shown
    images = re.findall(r"<img (?:alt=\\?\"([^\"]*)\\?\")?", shown)
    assert len(images) >= 10
    assert all(images), "a picture without a text"
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    assert not any("image/png" in output.get("data", {}) for output in outputs)
