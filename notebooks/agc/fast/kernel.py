"""One compiled pass over the events: selection, observables, sums of weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from agc.compiled import compiled, inlined
from agc.fast import selection
from agc.fast.exact_sums import add_event, to_weight_step
from agc.hists.build import N_BINS
from agc.inputs.variations import (
    BTAG_VAR_PER_50_GEV,
    N_BTAG_VARIATIONS,
    PT_RES_SIGMA,
    PT_SCALE_UP,
)
from agc.ttbar.smearing import LARGEST_NORMAL, standard_normal

if TYPE_CHECKING:
    from agc.fast.columns import Events
    from agc.inputs.columns import BoolArray, FloatArray, IntArray

__all__ = ["FILLED_VARIATIONS", "fill_sums"]

#: What `fill_sums` fills, in its order: three jet variations, then the b-tag weights.
FILLED_VARIATIONS = (
    "nominal",
    "pt_scale_up",
    "pt_res_up",
    *(
        f"btag_var_{i}_{direction}"
        for i in range(N_BTAG_VARIATIONS)
        for direction in ("up", "down")
    ),
)

_NOMINAL, _SCALE_UP, _RES_UP, _FIRST_BTAG = range(4)
_N_JET_VARIATIONS = _FIRST_BTAG
_CONTROL, _SIGNAL = range(2)
_PT_SCALE_UP = np.float32(PT_SCALE_UP)


class JetBuffer(NamedTuple):
    """Room for the jets of one event; its arrays are reused from event to event.

    The first five describe the candidates: jets that some variation could select.
    The others describe those that one variation does select.
    """

    place: IntArray
    """Where the candidate is in the columns; shape (most jets of an event,), as all."""
    tagged: BoolArray
    x: FloatArray
    y: FloatArray
    z: FloatArray
    selected: IntArray
    """Which candidate it is."""
    pt: FloatArray
    """Varied, in GeV, as the momenta and the energy."""
    px: FloatArray
    py: FloatArray
    pz: FloatArray
    energy: FloatArray
    selected_tagged: BoolArray


@compiled
def make_buffer(events: Events) -> JetBuffer:
    """Return a buffer for the largest event of a chunk."""
    n = 0
    for e in range(len(events.jets.offsets) - 1):
        n = max(n, events.jets.offsets[e + 1] - events.jets.offsets[e])
    return JetBuffer(
        np.empty(n, np.int64),
        np.empty(n, np.bool_),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n, np.int64),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n),
        np.empty(n, np.bool_),
    )


@inlined
def has_one_lepton(events: Events, e: int) -> bool:
    """Tell whether event ``e`` has exactly one selected electron or muon."""
    electrons, muons = events.electrons, events.muons
    n = 0
    for i in range(electrons.offsets[e], electrons.offsets[e + 1]):
        n += selection.is_selected_electron(
            electrons.pt[i],
            electrons.eta[i],
            electrons.cut_based[i],
            electrons.sip3d[i],
        )
    for i in range(muons.offsets[e], muons.offsets[e + 1]):
        n += selection.is_selected_muon(
            muons.pt[i],
            muons.eta[i],
            muons.tight_id[i],
            muons.sip3d[i],
            muons.isolation[i],
        )
    return n == 1


@inlined
def varied_pt(
    events: Events, e: int, jet: int, variation: int, resolution: FloatArray
) -> float:
    """Return a jet's pt in GeV under one of the jet variations.

    ``resolution`` holds one factor for each jet of the chunk, or nothing: then the
    factor is drawn from the jet's own random number.
    """
    jets = events.jets
    if variation == _SCALE_UP:
        return float(jets.pt[jet] * _PT_SCALE_UP)
    if variation == _RES_UP:
        if len(resolution) > 0:
            return float(jets.pt[jet] * resolution[jet])
        position = jet - jets.offsets[e]
        number = standard_normal(
            events.run[e], events.luminosity_block[e], events.event[e], position
        )
        return float(jets.pt[jet] * (1.0 + PT_RES_SIGMA * number))
    return float(jets.pt[jet])


@inlined
def find_candidates(events: Events, e: int, reach: float, buffer: JetBuffer) -> int:
    """Find the jets of event ``e`` that some variation could select.

    A jet is one if it passes the identification and its pt would pass when multiplied
    by ``reach``. Writes the jets to the front of the buffer. Returns how many there
    are, or 0 where the event cannot be selected: too few, or none b-tagged.
    """
    jets = events.jets
    n, n_btagged = 0, 0
    for jet in range(jets.offsets[e], jets.offsets[e + 1]):
        if selection.jet_passes_identification(
            jets.eta[jet], jets.jet_id[jet]
        ) and selection.passes_jet_pt(jets.pt[jet] * reach):
            buffer.place[n] = jet
            buffer.tagged[n] = selection.is_btagged(jets.btag[jet])
            n_btagged += buffer.tagged[n]
            n += 1
    return n if n >= selection.MIN_JETS and n_btagged > 0 else 0


@inlined
def select_jets(  # noqa: PLR0917 - compiled functions have no keyword-only options
    events: Events,
    e: int,
    variation: int,
    resolution: FloatArray,
    n_candidates: int,
    buffer: JetBuffer,
) -> tuple[int, int, float]:
    """Select the candidates whose pt passes under a jet variation.

    Writes which they are and their pt to the front of the buffer; returns their
    number, how many of them are b-tagged, and the sum of their pt in GeV.
    """
    n, n_btagged, ht = 0, 0, 0.0
    for candidate in range(n_candidates):
        pt = varied_pt(events, e, buffer.place[candidate], variation, resolution)
        if selection.passes_jet_pt(pt):
            buffer.selected[n], buffer.pt[n] = candidate, pt
            n_btagged += buffer.tagged[candidate]
            ht += pt
            n += 1
    return n, n_btagged, ht


@inlined
def find_directions(events: Events, n: int, buffer: JetBuffer) -> None:
    """Write the first ``n`` candidates' directions, the momentum of a pt of 1 GeV."""
    jets = events.jets
    for i in range(n):
        jet = buffer.place[i]
        phi = np.float64(jets.phi[jet])  # or the functions would work in float32
        buffer.x[i] = math.cos(phi)
        buffer.y[i] = math.sin(phi)
        buffer.z[i] = math.sinh(np.float64(jets.eta[jet]))


@inlined
def selected_trijet_mass(events: Events, n: int, buffer: JetBuffer) -> float:
    """Return `agc.fast.selection.trijet_mass` of the ``n`` selected jets, in GeV.

    The pt variations do not scale the jets' masses.
    """
    for i in range(n):
        candidate, pt = buffer.selected[i], buffer.pt[i]
        buffer.px[i] = pt * buffer.x[candidate]
        buffer.py[i] = pt * buffer.y[candidate]
        buffer.pz[i] = pt * buffer.z[candidate]
        mass = np.float64(events.jets.mass[buffer.place[candidate]])
        buffer.energy[i] = math.sqrt(
            buffer.px[i] ** 2 + buffer.py[i] ** 2 + buffer.pz[i] ** 2 + mass**2
        )
        buffer.selected_tagged[i] = buffer.tagged[candidate]
    return float(
        selection.trijet_mass(
            buffer.px[:n],
            buffer.py[:n],
            buffer.pz[:n],
            buffer.energy[:n],
            buffer.selected_tagged[:n],
        )
    )


@compiled
def add_btag_variations(
    sums: FloatArray, region: int, observable: float, pt: FloatArray
) -> None:
    """Add a nominal event with the weights of each b-tag variation."""
    for i in range(N_BTAG_VARIATIONS):
        shift = to_weight_step(BTAG_VAR_PER_50_GEV * pt[i] / 50.0)
        up = _FIRST_BTAG + 2 * i
        add_event(sums, region, up, observable, 1.0 + shift)
        add_event(sums, region, up + 1, observable, 1.0 - shift)


@compiled
def fill_sums(
    events: Events,
    resolution: FloatArray,
    nominal_only: bool,  # noqa: FBT001 - compiled functions have no keyword-only options
) -> npt.NDArray[np.float64]:
    """Select events and sum their weights, for every variation that events decide.

    ``resolution`` are factors on the jets' pt for ``pt_res_up``, shape (jets,), or an
    empty array for the counter-based random numbers of `agc.ttbar.smearing`.
    ``nominal_only`` fills the first variation only: for samples that are a variation
    themselves. Returned are unnormalised sums of weights and of squared weights, shape
    (regions, variations, bins with under- and overflow, 2), the variations as
    `FILLED_VARIATIONS`.
    """
    sums = np.zeros((2, _FIRST_BTAG + 2 * N_BTAG_VARIATIONS, N_BINS + 2, 2))
    jets = events.jets
    n_events = len(jets.offsets) - 1
    buffer = make_buffer(events)
    reach = 1.0 + PT_RES_SIGMA * LARGEST_NORMAL
    if len(resolution) > 0:
        reach = max(reach, resolution.max())
    n_variations = 1 if nominal_only else _N_JET_VARIATIONS
    for e in range(n_events):
        n_jets = jets.offsets[e + 1] - jets.offsets[e]
        if n_jets < selection.MIN_JETS or not has_one_lepton(events, e):
            continue
        n_candidates = find_candidates(events, e, reach, buffer)
        has_directions = False
        for variation in range(n_variations if n_candidates > 0 else 0):
            n, n_btagged, ht = select_jets(
                events, e, variation, resolution, n_candidates, buffer
            )
            if n < selection.MIN_JETS or n_btagged == 0:
                continue
            if n_btagged == 1:
                region, observable = _CONTROL, ht
            else:
                if not has_directions:
                    find_directions(events, n_candidates, buffer)
                    has_directions = True
                region = _SIGNAL
                observable = selected_trijet_mass(events, n, buffer)
            add_event(sums, region, variation, observable, 1.0)
            if variation == _NOMINAL and not nominal_only:
                add_btag_variations(sums, region, observable, buffer.pt)
    return sums
