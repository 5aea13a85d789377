"""The AGC ttbar task: processes, systematic variations, regions and what is fitted."""

from __future__ import annotations

from agc.hists.build import REGIONS
from agc.inputs.config import Channel, Config, Process, Systematic
from agc.inputs.samples import LUMI_PB, PROCESS_LABELS, XSEC_PB
from agc.inputs.variations import LUMI_UNCERTAINTY, SYSTEMATICS
from agc.ttbar.features import FEATURES

__all__ = ["ttbar_config"]

#: Told apart by colour-blind readers too: the six-colour sequence of M. Petroff,
#: arXiv:2107.02270, which CMS adopted.
_COLOURS = ("#e42536", "#5790fc", "#f89c20", "#964a8b", "#9c9ca1")


def ttbar_config() -> Config:
    """Return the task as the AGC defines it (reference implementation, c37bf59)."""
    return Config(
        name="CMS_ttbar",
        processes={
            name: Process(PROCESS_LABELS[name], colour, xsec_pb)
            for (name, xsec_pb), colour in zip(XSEC_PB.items(), _COLOURS, strict=True)
        },
        systematics=[
            *SYSTEMATICS,
            Systematic("Luminosity", "norm", size=LUMI_UNCERTAINTY),
        ],
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
    )
