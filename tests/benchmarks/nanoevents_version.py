"""The ttbar task as a physicist would write it with coffea: a pass per variation.

This is the shape of the AGC's reference implementation
(iris-hep/analysis-grand-challenge c37bf59): NanoAOD's schema, awkward arrays, the
selection repeated for each variation. Left out is what would only slow it down: its
weights come from formulas, not from correctionlib, and it fills 22 histograms of 25
bins as ours does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt
from coffea.analysis_tools import PackedSelection
from coffea.nanoevents import NanoAODSchema
from coffea.processor import IterativeExecutor, ProcessorABC, Runner

from agc.inputs.filesets import Fileset
from agc.inputs.variations import PT_RES_SIGMA
from agc.ttbar.features import FEATURES
from agc.ttbar.smearing import standard_normal
from benchmarks.assignment_models import Classifiers
from benchmarks.nanoevents_assignment import best_features
from support.histograms import empty_histograms, feature_histograms

#: One factor for each jet of the events, flat and in file order.
Resolution = Callable[[ak.Array], npt.NDArray[np.float64]]


def random_resolution(events: ak.Array) -> npt.NDArray[np.float64]:
    """Draw the factors as the reference does: from numpy's global generator."""
    n_jets = ak.sum(ak.num(events.Jet))
    return np.random.normal(1, PT_RES_SIGMA, n_jets)  # noqa: NPY002 - as it does


def our_resolution(events: ak.Array) -> npt.NDArray[np.float64]:
    """Return the factors of our counter-based generator, for comparing."""
    n_jets = ak.to_numpy(ak.num(events.Jet))
    first = np.repeat(np.cumsum(n_jets) - n_jets, n_jets)
    ids = (
        np.repeat(ak.to_numpy(events[name]), n_jets)
        for name in ("run", "luminosityBlock", "event")
    )
    jet = np.arange(len(first)) - first
    normal = [standard_normal(*key) for key in zip(*ids, jet, strict=True)]
    return 1.0 + PT_RES_SIGMA * np.asarray(normal)


class NanoEventsTtbar(ProcessorABC):
    """Histograms in events, as `agc.fast.processor.TtbarProcessor` fills them."""

    def __init__(
        self,
        resolution: Resolution = random_resolution,
        classifiers: Classifiers | None = None,
    ) -> None:
        self.resolution = resolution
        self.classifiers = classifiers

    def process(self, events: ak.Array) -> dict[str, Any]:
        process = events.metadata["process"]
        histograms = empty_histograms()
        if self.classifiers is not None:
            histograms |= feature_histograms()
        factors = ak.unflatten(self.resolution(events), ak.num(events.Jet))
        jet_factor = {"pt_scale_up": np.float32(1.03), "pt_res_up": factors}
        weight_variations = [f"btag_var_{i}" for i in range(4)]
        if process == "wjets":
            weight_variations.append("scale_var")

        for variation in ["nominal", *jet_factor, *weight_variations]:
            electrons, muons, jets = events.Electron, events.Muon, events.Jet
            if variation in jet_factor:
                jets = ak.with_field(jets, jets.pt * jet_factor[variation], "pt")
            electrons = electrons[
                (electrons.pt > 30)
                & (abs(electrons.eta) < 2.1)
                & (electrons.cutBased == 4)
                & (electrons.sip3d < 4)
            ]
            muons = muons[
                (muons.pt > 30)
                & (abs(muons.eta) < 2.1)
                & muons.tightId
                & (muons.sip3d < 4)
                & (muons.pfRelIso04_all < 0.15)
            ]
            jets = jets[(jets.pt > 30) & (abs(jets.eta) < 2.4) & jets.isTightLeptonVeto]

            n_btagged = ak.sum(jets.btagCSVV2 > 0.5, axis=1)
            selections = PackedSelection(dtype="uint64")
            selections.add("exactly_1l", ak.num(electrons) + ak.num(muons) == 1)
            selections.add("atleast_4j", ak.num(jets) >= 4)
            selections.add("exactly_1b", n_btagged == 1)
            selections.add("atleast_2b", n_btagged >= 2)

            for region, btags in (("4j1b", "exactly_1b"), ("4j2b", "atleast_2b")):
                passing = selections.all("exactly_1l", "atleast_4j", btags)
                selected = jets[passing]
                if region == "4j1b":
                    observable = ak.sum(selected.pt, axis=-1)
                else:
                    trijet = ak.combinations(selected, 3, fields=["j1", "j2", "j3"])
                    trijet["p4"] = trijet.j1 + trijet.j2 + trijet.j3
                    trijet["max_btag"] = np.maximum(
                        trijet.j1.btagCSVV2,
                        np.maximum(trijet.j2.btagCSVV2, trijet.j3.btagCSVV2),
                    )
                    trijet = trijet[trijet.max_btag > 0.5]
                    best = ak.argmax(trijet.p4.pt, axis=1, keepdims=True)
                    observable = ak.flatten(trijet["p4"][best].mass)
                observables = {region: observable}
                if self.classifiers is not None and region == "4j2b":
                    features = best_features(
                        electrons[passing],
                        muons[passing],
                        selected,
                        ak.to_numpy(events.event[passing]),
                        self.classifiers,
                    )
                    names = (feature.name for feature in FEATURES)
                    observables |= dict(zip(names, features.T, strict=True))
                for label, weight in weights_of(variation, selected):
                    for name, values in observables.items():
                        histograms[name].fill(
                            observable=values,
                            process=process,
                            variation=label,
                            weight=weight,
                        )
        return histograms

    def postprocess(self, accumulator: dict[str, Any]) -> dict[str, Any]:
        return accumulator


def weights_of(variation: str, jets: ak.Array) -> list[tuple[str, Any]]:
    """Return the labels that a pass fills and the events' weights."""
    if variation.startswith("btag_var"):
        pt = jets.pt[:, int(variation.rsplit("_", 1)[-1])]
        shift = 0.075 * ak.to_numpy(pt) / 50
    elif variation == "scale_var":
        shift = np.full(len(jets), 0.025)
    else:
        return [(variation, np.ones(len(jets)))]
    return [(f"{variation}_up", 1 + shift), (f"{variation}_down", 1 - shift)]


def run_nanoevents(
    fileset: Fileset,
    *,
    chunksize: int,
    resolution: Resolution = random_resolution,
    classifiers: Classifiers | None = None,
) -> dict[str, Any]:
    """Run it on one core; return histograms in events, by region and feature."""
    # Files with the needed columns only lack the targets of most cross-references.
    NanoAODSchema.warn_missing_crossrefs = False
    runner = Runner(
        IterativeExecutor(status=False),
        schema=NanoAODSchema,
        chunksize=chunksize,
        savemetrics=True,
        metadata_cache={},
    )
    output, _ = runner(fileset, NanoEventsTtbar(resolution, classifiers))
    return output
