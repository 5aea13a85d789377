"""The ttbar selection written the obvious, slow way, one variation after the other.

It shares no code with the analysis but the histogram axes, the lists of variations
and the random number of a jet.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np

from agc.inputs.variations import variations_of
from agc.ttbar.smearing import standard_normal
from support.histograms import empty_histograms

if TYPE_CHECKING:
    import hist


def resolution_factors(events: ak.Array) -> ak.Array:
    """Return each jet's factor on its pt, from its own random number."""
    return ak.Array(
        [
            [1 + 0.05 * standard_normal(run, lumi, event, jet) for jet in range(n_jets)]
            for run, lumi, event, n_jets in zip(
                events.run,
                events.luminosityBlock,
                events.event,
                ak.num(events.Jet),
                strict=True,
            )
        ]
    )


def oracle_counts(
    events: ak.Array,
    process: str,
    sample_variation: str = "nominal",
    resolution: ak.Array | None = None,
) -> dict[str, hist.Hist[Any]]:
    """Fill both regions' histograms with every variation of one sample.

    ``events`` has ``Electron``, ``Muon`` and ``Jet`` records with NanoAOD's field
    names, and ``run``, ``luminosityBlock``, ``event``.
    """
    histograms = empty_histograms()
    if len(events) == 0:
        return histograms
    if resolution is None:
        resolution = resolution_factors(events)
    for label in variations_of(process, sample_variation):
        jets = events.Jet
        if label == "pt_scale_up":
            jets = ak.with_field(jets, jets.pt * np.float32(1.03), "pt")
        elif label == "pt_res_up":
            jets = ak.with_field(jets, jets.pt * resolution, "pt")
        for region, observable, weight in _selected(events, jets, label):
            histograms[region].fill(
                observable=observable, process=process, variation=label, weight=weight
            )
    return histograms


def _selected(
    events: ak.Array, jets: ak.Array, label: str
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    electrons, muons = events.Electron, events.Muon
    good_electrons = (
        (electrons.pt > 30)
        & (abs(electrons.eta) < 2.1)
        & (electrons.cutBased == 4)
        & (electrons.sip3d < 4)
    )
    good_muons = (
        (muons.pt > 30)
        & (abs(muons.eta) < 2.1)
        & muons.tightId
        & (muons.sip3d < 4)
        & (muons.pfRelIso04_all < 0.15)
    )
    jets = jets[(jets.pt > 30) & (abs(jets.eta) < 2.4) & ((jets.jetId & 4) == 4)]
    n_leptons = ak.sum(good_electrons, axis=1) + ak.sum(good_muons, axis=1)
    passes = (n_leptons == 1) & (ak.num(jets) >= 4)
    n_btagged = ak.sum(jets.btagCSVV2 > 0.5, axis=1)

    control = jets[passes & (n_btagged == 1)]
    ht = ak.sum(ak.values_astype(control.pt, np.float64), axis=1)
    signal = jets[passes & (n_btagged >= 2)]
    return [
        ("4j1b", ak.to_numpy(ht), _weight(control, label)),
        ("4j2b", _trijet_masses(signal), _weight(signal, label)),
    ]


def _weight(jets: ak.Array, label: str) -> np.ndarray:
    weight = np.ones(len(jets))
    sign = 1 if label.endswith("_up") else -1
    if label.startswith("btag_var"):
        i = int(label.split("_")[2])
        pt = ak.to_numpy(ak.values_astype(jets.pt[:, i], np.float64))
        weight += sign * 0.075 * pt / 50
    elif label.startswith("scale_var"):
        weight += sign * 0.025
    return weight


def _trijet_masses(jets: ak.Array) -> np.ndarray:
    """Return the mass of each event's b-tagged three jets with the largest pt."""
    if len(jets) == 0:
        return np.empty(0)
    pt = ak.values_astype(jets.pt, np.float64)
    px, py = pt * _each(math.cos, jets.phi), pt * _each(math.sin, jets.phi)
    pz = pt * _each(math.sinh, jets.eta)
    mass = ak.values_astype(jets.mass, np.float64)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    parts = ak.zip(
        {"px": px, "py": py, "pz": pz, "e": energy, "tag": jets.btagCSVV2 > 0.5}
    )
    a, b, c = ak.unzip(ak.combinations(parts, 3))
    trijets = ak.zip({name: a[name] + b[name] + c[name] for name in a.fields})
    trijets = trijets[trijets.tag > 0]
    pt2 = trijets.px**2 + trijets.py**2
    best = ak.firsts(trijets[ak.argmax(pt2, axis=1, keepdims=True)])
    mass2 = best.e**2 - (best.px**2 + best.py**2) - best.pz**2
    return ak.to_numpy(np.sign(mass2) * np.sqrt(abs(mass2)))


def _each(function: Any, values: ak.Array) -> ak.Array:
    """Apply the C library's function, the one compiled code calls, to each value."""
    flat = [function(x) for x in ak.flatten(values).tolist()]
    return ak.unflatten(np.asarray(flat, dtype=float), ak.num(values))
