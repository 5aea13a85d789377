"""Large samples from the shipped small ones: smeared copies, most of which fail.

The shipped stand-in is skimmed: nearly all of its events look like signal. The AGC's
inputs are not: 97 % of the ttbar events and 99.98 % of the W+jets events fail, and
what an analysis costs is mostly what failing events cost. So the enlarged samples are
mixed from two kinds of copies:

- *passing*: shipped events that pass the nominal selection, smeared, and kept only if
  they still do; as many of them as in the AGC's first file of the sample.
- *failing*: shipped events that lose some of their jets and leptons at random and most
  of their leptons' identification, smeared, and kept only if they fail.

All get additional soft jets, for NanoAOD keeps jets above 15 GeV. The `Mixture` of each
sample is tuned until the multiplicities are those of the real files that could be
looked at (200 W+jets events, 10 ttbar events).

Every copy is smeared anew: the event is rotated in phi, each object gets its own
pt, eta, phi, mass, discriminants and isolation, and each event a new number. Floats
keep as many bits of the mantissa as real NanoAOD has in that branch, random ones, so
a compressor gains no more than on real files.

What is not real: correlations among the objects that were removed or added, and the
shapes of soft jets. Bins filled from these events mean nothing; the time does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agc.standin.files import Columns, rounded

EVENTS = 200_000

#: What is enlarged: what the analysis and the jet assignment read, and the leptons'
#: charge, without which coffea makes no leptons.
COLLECTIONS = {
    "Electron": ("pt", "eta", "phi", "mass", "charge", "cutBased", "sip3d"),
    "Muon": (
        "pt",
        "eta",
        "phi",
        "mass",
        "charge",
        "tightId",
        "sip3d",
        "pfRelIso04_all",
    ),
    "Jet": ("pt", "eta", "phi", "mass", "btagCSVV2", "jetId", "qgl"),
}

#: Bits of the mantissa in real NanoAOD of these inputs, as far as they are not all 23:
#: measured in the 200 events.
_JET_BITS = {"pt": 10, "eta": 12, "phi": 12, "mass": 10, "btagCSVV2": 10, "qgl": 10}
_LEPTON_BITS = {"eta": 12, "phi": 12, "mass": 10, "sip3d": 10}

#: The discriminants' values for "not computed".
_NO_DISCRIMINANT = 0.0


@dataclass(frozen=True)
class Mixture:
    """How the copies of one shipped sample are mixed and thinned."""

    sample: str
    """The shipped sample's name."""
    passing: float
    """Fraction of events that pass: the AGC's unweighted yields of N=1 / its events."""
    jets_kept: float
    """Probability that a failing copy keeps a jet."""
    leptons_kept: float
    """Probability that a failing copy keeps a lepton."""
    leptons_identified: float
    """Probability that a lepton that it keeps is still identified."""
    soft_jets: float
    """Mean number of added jets, between 15 and 30 GeV."""


TTBAR = Mixture("ttbar__nominal", (12693 + 28616) / 1334428, 0.75, 0.9, 0.14, 2.4)
WJETS = Mixture("wjets__nominal", (145 + 48) / 1249076, 0.14, 0.5, 0.2, 2.0)


def enlarge(
    shipped: Columns, mixture: Mixture, *, seed: int, n_events: int = EVENTS
) -> Columns:
    """Return so many events: flat columns, and counts in ``n<Collection>``."""
    rng = np.random.default_rng(seed)
    n_passing = round(mixture.passing * n_events)
    whole = Mixture(mixture.sample, 1.0, 1.0, 1.0, 1.0, mixture.soft_jets)
    kinds = []
    for recipe, wanted, n in (
        (whole, True, n_passing),
        (mixture, False, n_events - n_passing),
    ):
        source = np.flatnonzero(passes(shipped)) if wanted else np.arange(_n(shipped))
        candidates = _copies(shipped, rng.choice(source, 2 * n), recipe, rng)
        kept = np.flatnonzero(passes(candidates) == wanted)[:n]
        kinds.append(_taken(candidates, kept))
    both = {name: np.concatenate([kind[name] for kind in kinds]) for name in kinds[0]}
    events = _taken(both, rng.permutation(n_events))
    number = np.cumsum(rng.integers(1, 4, n_events)) + 44_727_000 * seed
    events["run"] = np.ones(n_events, np.uint32)
    events["luminosityBlock"] = (number // 200).astype(np.uint32)
    events["event"] = number.astype(np.uint64)
    return events


def passes(columns: Columns) -> npt.NDArray[np.bool_]:
    """Return which events the nominal selection keeps, in either region."""
    of = {collection: _event_of(columns, collection) for collection in COLLECTIONS}
    jet = (
        (columns["Jet_pt"] > 30)
        & (abs(columns["Jet_eta"]) < 2.4)
        & (columns["Jet_jetId"] & 4 != 0)
    )
    tagged = jet & (columns["Jet_btagCSVV2"] > 0.5)
    n = _n(columns)
    return (
        (one_lepton(columns))
        & (np.bincount(of["Jet"][jet], minlength=n) >= 4)
        & (np.bincount(of["Jet"][tagged], minlength=n) >= 1)
    )


def one_lepton(columns: Columns) -> npt.NDArray[np.bool_]:
    """Return which events have exactly one selected lepton."""
    electron = (
        (columns["Electron_pt"] > 30)
        & (abs(columns["Electron_eta"]) < 2.1)
        & (columns["Electron_cutBased"] == 4)
        & (columns["Electron_sip3d"] < 4)
    )
    muon = (
        (columns["Muon_pt"] > 30)
        & (abs(columns["Muon_eta"]) < 2.1)
        & columns["Muon_tightId"]
        & (columns["Muon_sip3d"] < 4)
        & (columns["Muon_pfRelIso04_all"] < 0.15)
    )
    n = _n(columns)
    return (
        np.bincount(_event_of(columns, "Electron")[electron], minlength=n)
        + np.bincount(_event_of(columns, "Muon")[muon], minlength=n)
    ) == 1


def _n(columns: Columns) -> int:
    return len(columns["nJet"])


def _event_of(columns: Columns, collection: str) -> npt.NDArray[np.int64]:
    """Return the event of each object of a collection."""
    return np.repeat(np.arange(_n(columns)), columns[f"n{collection}"])


def _taken(columns: Columns, chosen: npt.NDArray[np.int64]) -> Columns:
    """Return the chosen events, in that order, with repetitions."""
    taken: Columns = {}
    for collection, fields in COLLECTIONS.items():
        counts = columns[f"n{collection}"]
        starts = np.cumsum(counts) - counts
        n = counts[chosen]
        first = np.repeat(starts[chosen] - (np.cumsum(n) - n), n)
        objects = first + np.arange(n.sum())
        taken[f"n{collection}"] = n
        for field in fields:
            taken[f"{collection}_{field}"] = columns[f"{collection}_{field}"][objects]
    return taken


def _copies(
    shipped: Columns,
    chosen: npt.NDArray[np.int64],
    mixture: Mixture,
    rng: np.random.Generator,
) -> Columns:
    """Return thinned and smeared copies of the chosen events, soft jets added."""
    columns = _taken(shipped, chosen)
    n = len(chosen)
    turn = rng.uniform(-np.pi, np.pi, n)
    copies: Columns = {}
    for collection in COLLECTIONS:
        of_jets = collection == "Jet"
        objects = _objects(columns, collection)
        event = _event_of(columns, collection)
        chance = mixture.jets_kept if of_jets else mixture.leptons_kept
        kept = rng.random(len(event)) < chance
        objects, event = {name: x[kept] for name, x in objects.items()}, event[kept]
        if of_jets:
            objects, event = _with_soft_jets(
                shipped, objects, event, rng.poisson(mixture.soft_jets, n), rng
            )
        else:
            lost = rng.random(len(event)) >= mixture.leptons_identified
            identification = "cutBased" if collection == "Electron" else "tightId"
            worse = rng.integers(0, 4 if collection == "Electron" else 1, len(event))
            objects[identification] = np.where(
                lost, worse, objects[identification]
            ).astype(objects[identification].dtype)
        objects = _smeared(objects, turn[event], rng, jets=of_jets)
        order = np.lexsort((-objects["pt"], event))  # NanoAOD's order: falling pt
        copies[f"n{collection}"] = np.bincount(event, minlength=n).astype(np.int32)
        copies |= {f"{collection}_{name}": x[order] for name, x in objects.items()}
    return copies


def _objects(columns: Columns, collection: str) -> Columns:
    return {
        field: columns[f"{collection}_{field}"] for field in COLLECTIONS[collection]
    }


def _with_soft_jets(
    shipped: Columns,
    jets: Columns,
    event: npt.NDArray[np.int64],
    n_soft: npt.NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[Columns, npt.NDArray[np.int64]]:
    """Add soft jets: shipped ones with another pt, mostly without a discriminant."""
    template = _objects(shipped, "Jet")
    chosen = rng.integers(0, len(template["pt"]), n_soft.sum())
    soft = {field: values[chosen] for field, values in template.items()}
    soft["mass"] = soft["mass"] * (20.0 / soft["pt"])
    soft["pt"] = 15.0 + np.minimum(rng.exponential(6.0, len(chosen)), 15.0)
    soft["phi"] = rng.uniform(-np.pi, np.pi, len(chosen))
    soft["btagCSVV2"] = np.where(
        rng.random(len(chosen)) < 0.6, -10.0, soft["btagCSVV2"]
    )
    together = {name: np.concatenate([jets[name], soft[name]]) for name in jets}
    return together, np.concatenate([event, np.repeat(np.arange(len(n_soft)), n_soft)])


def _smeared(
    objects: Columns,
    turn: npt.NDArray[np.float64],
    rng: np.random.Generator,
    *,
    jets: bool,
) -> Columns:
    """Return objects with new values, turned in phi, rounded as NanoAOD rounds."""

    def normal(width: float) -> npt.NDArray[np.float64]:
        return rng.normal(0.0, width, len(turn))

    new = dict(objects)
    new["pt"] = objects["pt"] * np.exp(normal(0.1))
    new["eta"] = objects["eta"] + normal(0.1)
    new["phi"] = np.remainder(objects["phi"] + turn + normal(0.1), 2 * np.pi) - np.pi
    if jets:
        new["mass"] = objects["mass"] * np.exp(normal(0.2))
        for name in ("btagCSVV2", "qgl"):
            x = objects[name].astype(float)
            computed = (x > _NO_DISCRIMINANT) & (x < 1)
            odds = np.where(computed, x, 0.5) / (1 - np.where(computed, x, 0.5))
            moved = 1 / (1 + np.exp(-normal(0.3)) / odds)
            new[name] = np.where(computed, moved, x)
    else:
        for name in ("sip3d", "pfRelIso04_all"):
            if name in objects:
                new[name] = objects[name] * np.exp(normal(0.2))
    bits = _JET_BITS if jets else _LEPTON_BITS
    return {
        name: rounded(x, bits[name])
        if name in bits
        else x.astype(np.float32)
        if np.issubdtype(x.dtype, np.floating)
        else x
        for name, x in new.items()
    }
