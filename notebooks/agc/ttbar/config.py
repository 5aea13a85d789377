"""The AGC's ttbar task, described once; a notebook extends it by a line.

Notes
-----
Names, cross-sections, binnings and the model are those of the AGC reference
implementation (iris-hep/analysis-grand-challenge c37bf59).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from agc.hists.build import BIN_HIGH, BIN_LOW, N_BINS, REGIONS
from agc.inputs.config import Channel, Config, Process, Systematic, Variable
from agc.inputs.samples import LUMI_PB, PROCESS_LABELS, XSEC_PB
from agc.inputs.variations import LUMI_UNCERTAINTY, SCALE_VAR, SYSTEMATICS
from agc.ttbar.features import FEATURES

__all__ = ["COLUMNS", "CORRECTIONS", "ttbar_config"]

#: Every branch that is read and the type it is converted to (NanoAOD's own).
COLUMNS: dict[str, npt.DTypeLike] = {
    "Electron_pt": np.float32,
    "Electron_eta": np.float32,
    "Electron_cutBased": np.int32,
    "Electron_sip3d": np.float32,
    "Muon_pt": np.float32,
    "Muon_eta": np.float32,
    "Muon_tightId": np.bool_,
    "Muon_sip3d": np.float32,
    "Muon_pfRelIso04_all": np.float32,
    "Jet_pt": np.float32,
    "Jet_eta": np.float32,
    "Jet_phi": np.float32,
    "Jet_mass": np.float32,
    "Jet_btagCSVV2": np.float32,
    "Jet_jetId": np.int32,
    "run": np.uint32,
    "luminosityBlock": np.uint32,
    "event": np.uint64,
}

#: The weights' variations, for correctionlib.
CORRECTIONS = Path(__file__).with_name("corrections.json")

#: One colour for each process, told apart by colour-blind readers too: the six-colour
#: sequence of M. Petroff, arXiv:2107.02270, which CMS adopted.
_COLOURS = ("#e42536", "#5790fc", "#f89c20", "#964a8b", "#9c9ca1")


def ttbar_config() -> Config:
    """Return a new description of the task, which the caller may extend."""
    processes = {
        name: Process(PROCESS_LABELS[name], colour, XSEC_PB[name])
        for name, colour in zip(XSEC_PB, _COLOURS, strict=True)
    }
    luminosity = Systematic("Luminosity", "norm", size=LUMI_UNCERTAINTY)
    return Config(
        name="CMS_ttbar",
        processes=processes,
        systematics=[*SYSTEMATICS, luminosity],
        titles={
            **{region.name: f"{region.name}: {region.title}" for region in REGIONS},
            **{feature.name: "4j2b: jets assigned" for feature in FEATURES},
        },
        fit_channels={region.name: Channel(110.0, 2) for region in REGIONS},
        signal="ttbar",
        poi="ttbar_norm",
        lumi_pb=LUMI_PB,
        keywords={
            "reactions": ["P P --> TOP TOPBAR X"],
            "observables": ["N"],
            "phrases": ["Top", "Cross Section", "Proton-Proton Scattering"],
        },
        variables={
            region.name: Variable(
                region.observable, region.name, (N_BINS, BIN_LOW, BIN_HIGH)
            )
            for region in REGIONS
        },
        columns=dict(COLUMNS),
        constants={"scale_var_up": 1 + SCALE_VAR, "scale_var_down": 1 - SCALE_VAR},
    )
