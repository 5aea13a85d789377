"""One compiled pass over the events: selection, observables, sums of weights.

The sums do not depend on the order of the events, on how they are cut into chunks or
on which worker adds what: every weight is a multiple of 2**-24, so adding them in
double precision is exact as long as a bin holds less than 2**29 (5e8) events. The
cross-section is multiplied in once, at the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numba
import numpy as np
import numpy.typing as npt

from agc import selection
from agc.histograms import BIN_HIGH, BIN_LOW, N_BINS
from agc.smearing import standard_normal
from agc.variations import (
    BTAG_VAR_PER_50_GEV,
    N_BTAG_VARIATIONS,
    PT_RES_SIGMA,
    PT_SCALE_UP,
)

if TYPE_CHECKING:
    from agc.columns import Events, FloatArray, IntArray

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
_WEIGHT_STEPS = 2.0**24
_PT_SCALE_UP = np.float32(PT_SCALE_UP)


@numba.njit(cache=True, nogil=True)
def to_weight_step(weight: float) -> float:
    """Round a weight to the nearest multiple of 2**-24."""
    return math.floor(weight * _WEIGHT_STEPS + 0.5) / _WEIGHT_STEPS


@numba.njit(cache=True, nogil=True)
def bin_of(value: float) -> int:
    """Return the bin of an observable: 0 is underflow, the last one overflow and NaN.

    The arithmetic is boost-histogram's, so that a value at an edge goes where
    ``hist.Hist.fill`` puts it.
    """
    z = (value - BIN_LOW) / (BIN_HIGH - BIN_LOW)
    if z < 1.0:
        return 1 + int(z * N_BINS) if z >= 0.0 else 0
    return N_BINS + 1


@numba.njit(cache=True, nogil=True)
def count_leptons(events: Events, e: int) -> int:
    """Count the selected electrons and muons of event ``e``."""
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
    return n


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
def add_event(
    sums: FloatArray, region: int, variation: int, observable: float, weight: float
) -> None:
    """Add one event to the sums of weights and of squared weights."""
    i = bin_of(observable)
    sums[region, variation, i, 0] += weight
    sums[region, variation, i, 1] += to_weight_step(weight * weight)


@numba.njit(cache=True, nogil=True)
def select_jets(  # noqa: PLR0917 - compiled functions have no keyword-only options
    events: Events,
    e: int,
    variation: int,
    resolution: FloatArray,
    place: IntArray,
    pt: FloatArray,
) -> tuple[int, int]:
    """Find the selected jets of event ``e`` under a jet variation.

    Writes each one's place in the columns and its varied pt to the front of ``place``
    and ``pt``; returns how many there are and how many of them are b-tagged.
    """
    jets = events.jets
    n, n_btagged = 0, 0
    for jet in range(jets.offsets[e], jets.offsets[e + 1]):
        if not selection.jet_passes_identification(jets.eta[jet], jets.jet_id[jet]):
            continue
        jet_pt = varied_pt(events, e, jet, variation, resolution)
        if selection.passes_jet_pt(jet_pt):
            place[n], pt[n] = jet, jet_pt
            n += 1
            n_btagged += selection.is_btagged(jets.btag[jet])
    return n, n_btagged


@numba.njit(cache=True, nogil=True)
def add_btag_variations(
    sums: FloatArray, region: int, observable: float, pt: FloatArray
) -> None:
    """Add a nominal event with the weights of each b-tag variation."""
    for i in range(N_BTAG_VARIATIONS):
        shift = to_weight_step(BTAG_VAR_PER_50_GEV * pt[i] / 50.0)
        up = _FIRST_BTAG + 2 * i
        add_event(sums, region, up, observable, 1.0 + shift)
        add_event(sums, region, up + 1, observable, 1.0 - shift)


@numba.njit(cache=True, nogil=True)
def fill_sums(
    events: Events,
    resolution: FloatArray,
    nominal_only: bool,  # noqa: FBT001 - compiled functions have no keyword-only options
) -> npt.NDArray[np.float64]:
    """Select events and sum their weights, for every variation that events decide.

    Parameters
    ----------
    events
        The chunk's columns.
    resolution
        Factors on the jets' pt for ``pt_res_up``, shape (jets,); an empty array for
        the counter-based random numbers of `agc.smearing`.
    nominal_only
        Fill the first variation only: for samples that are a variation themselves.

    Returns
    -------
    numpy.ndarray
        Shape (regions, variations, bins with under- and overflow, 2): sums of weights
        and of squared weights, unnormalised; variations as `FILLED_VARIATIONS`.
    """
    sums = np.zeros((2, _FIRST_BTAG + 2 * N_BTAG_VARIATIONS, N_BINS + 2, 2))
    jets = events.jets
    n_jets = jets.offsets[1:] - jets.offsets[:-1]
    most = n_jets.max() if len(n_jets) > 0 else 0
    place, pt = np.empty(most, np.int64), np.empty(most, np.float64)
    for e in range(len(n_jets)):
        if n_jets[e] < selection.MIN_JETS or count_leptons(events, e) != 1:
            continue
        for variation in range(1 if nominal_only else _N_JET_VARIATIONS):
            n, n_btagged = select_jets(events, e, variation, resolution, place, pt)
            if n < selection.MIN_JETS or n_btagged == 0:
                continue
            jet = place[:n]
            if n_btagged == 1:
                region, observable = _CONTROL, pt[:n].sum()
            else:
                region, observable = (
                    _SIGNAL,
                    selection.trijet_mass(
                        pt[:n],
                        jets.eta[jet],
                        jets.phi[jet],
                        jets.mass[jet],
                        jets.btag[jet],
                    ),
                )
            add_event(sums, region, variation, observable, 1.0)
            if variation == _NOMINAL and not nominal_only:
                add_btag_variations(sums, region, observable, pt[:n])
    return sums
