"""Z -> 4 leptons at lowest order, in the Z boson's rest frame.

Pythia 8 has no such decay: its only way there is a shower photon that splits, once in
ten thousand Z bosons. The matrix element is short enough to be written out: the Z
couples to one lepton line, which radiates a virtual photon that becomes the other pair;
four diagrams for two flavours, antisymmetrised where all leptons are of one flavour.
Leptons are massless, the Z is unpolarised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Complex: TypeAlias = NDArray[np.complexfloating[Any, Any]]

__all__ = ["boosted", "four_lepton_decays"]

#: The smallest mass of two opposite charges of one flavour in GeV, as in the
#: definition of the measured branching fraction.
_MIN_PAIR_MASS = 4.0
#: The effective weak mixing angle of leptons (PDG 2024).
_SIN2_THETA = 0.2315
#: The Z boson's couplings to left- and right-handed charged leptons.
_COUPLING = {"L": -0.5 + _SIN2_THETA, "R": _SIN2_THETA}
_METRIC = np.array([1.0, -1.0, -1.0, -1.0])

#: An upper bound of the squared amplitude times the squared mass. Decays above it, less
#: than 1 % of the rate, are taken as if they were at it.
_ENVELOPE = 1.2e5
#: Trials for each waiting boson in one pass, which keep memory below 1 GB.
_TRIES = 64


def _isotropic_leptons(
    masses: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw four massless momenta that fill phase space evenly, in the rest frame.

    Masses are of shape (n,), momenta (E, px, py, pz) of shape (n, 4, 4), all in GeV.
    The RAMBO algorithm: R. Kleiss, W. J. Stirling and S. D. Ellis, Comput. Phys.
    Commun. 40 (1986) 359.
    """
    n = len(masses)
    cosine = rng.uniform(-1.0, 1.0, (n, 4))
    phi = rng.uniform(-np.pi, np.pi, (n, 4))
    energy = -np.log(rng.uniform(np.finfo(float).tiny, 1.0, (n, 4, 2)).prod(axis=2))
    sine = np.sqrt(1.0 - cosine**2)
    drawn = energy[..., None] * np.stack(
        [np.ones_like(phi), sine * np.cos(phi), sine * np.sin(phi), cosine], axis=-1
    )
    total = drawn.sum(axis=1)
    mass = np.sqrt((total**2 * _METRIC).sum(axis=-1))
    at_rest = boosted(drawn, total * (1.0, -1.0, -1.0, -1.0))
    scaled: NDArray[np.float64] = at_rest * (masses / mass)[:, None, None]
    return scaled


def boosted(
    momenta: NDArray[np.float64], frame: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return momenta, of shape (n, particles, 4), as seen where their rest frame moves.

    The frame is given by the momentum of the rest frame's mass, of shape (n, 4).
    """
    mass = np.sqrt((frame**2 * _METRIC).sum(axis=-1))
    velocity = (frame[:, 1:] / mass[:, None])[:, None, :]
    gamma = (frame[:, 0] / mass)[:, None]
    energy, space = momenta[..., 0], momenta[..., 1:]
    along = (velocity * space).sum(axis=-1)
    moved = space + velocity * (energy + along / (1.0 + gamma))[..., None]
    seen: NDArray[np.float64] = np.concatenate(
        [(gamma * energy + along)[..., None], moved], axis=-1
    )
    return seen


def _squared_amplitude(
    momenta: NDArray[np.float64], *, same_flavour: bool
) -> NDArray[np.float64]:
    """Return the squared matrix element in 1/GeV^2, up to a constant; shape (n,).

    Of lepton, antilepton, lepton, antilepton, massless, in GeV, of shape (n, 4, 4);
    summed over helicities, with the factor 1/4 for identical particles.
    """
    direct = [0, 1, 2, 3]
    crossed = [0, 3, 2, 1]
    total: NDArray[np.float64] = np.zeros(len(momenta))
    for first in "LR":
        for second in "LR":
            one = _amplitude(momenta[:, direct], first, second)
            if not same_flavour:
                total += _contracted(one)
                continue
            other = _amplitude(momenta[:, crossed], first, second)
            if first == second:
                total += _contracted(one - other) / 4
            else:
                total += (_contracted(one) + _contracted(other)) / 4
    return total


def four_lepton_decays(
    masses: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Draw one unweighted decay to electrons and muons for each Z boson's mass in GeV.

    Returns momenta in the rest frame in GeV, of shape (n, 4, 4), and PDG codes, (n, 4).
    """
    momenta = np.zeros((len(masses), 4, 4))
    pdg_id = np.zeros((len(masses), 4), dtype=np.int64)
    waiting = np.arange(len(masses))
    while len(waiting):
        tried = np.repeat(waiting, _TRIES)
        drawn = _isotropic_leptons(masses[tried], rng)
        first, second = rng.choice([11, 13], (2, len(tried)))
        weight = np.zeros(len(tried))
        for same_flavour in (True, False):
            allowed = np.flatnonzero(
                ((first == second) == same_flavour)
                & _pairs_allowed(drawn, same_flavour=same_flavour)
            )
            # the two orders of different flavours are one and the same final state
            factor = 1.0 if same_flavour else 0.5
            weight[allowed] = factor * _squared_amplitude(
                drawn[allowed], same_flavour=same_flavour
            )
        weight *= masses[tried] ** 2 / _ENVELOPE
        accepted = np.flatnonzero(rng.random(len(tried)) < weight)
        done, at = np.unique(tried[accepted], return_index=True)
        chosen_rows = accepted[at]
        momenta[done] = drawn[chosen_rows]
        one, other = first[chosen_rows], second[chosen_rows]
        pdg_id[done] = np.stack([one, -one, other, -other], axis=1)
        waiting = np.setdiff1d(waiting, done)
    return momenta, pdg_id


def _pairs_allowed(
    momenta: NDArray[np.float64], *, same_flavour: bool
) -> NDArray[np.bool_]:
    """Return which decays have all their pairs above `_MIN_PAIR_MASS`."""
    pairs = [(0, 1), (2, 3)] + ([(0, 3), (2, 1)] if same_flavour else [])
    allowed = np.ones(len(momenta), dtype=bool)
    for i, j in pairs:
        allowed &= _squared(momenta[:, i] + momenta[:, j]) > _MIN_PAIR_MASS**2
    return allowed


def _squared(momentum: NDArray[np.float64]) -> NDArray[np.float64]:
    product: NDArray[np.float64] = (momentum**2 * _METRIC).sum(axis=-1)
    return product


def _amplitude(momenta: NDArray[np.float64], first: str, second: str) -> Complex:
    """Return the amplitude of one ordering, a vector in the Z's index: shape (4, n)."""
    one, two = momenta[:, :2], momenta[:, 2:]
    return _radiating(one, first, two, second) + _radiating(two, second, one, first)


def _radiating(
    line: NDArray[np.float64], hand: str, pair: NDArray[np.float64], pair_hand: str
) -> Complex:
    """Return the two diagrams in which the Z couples to a line and a photon to both."""
    photon = pair.sum(axis=1)
    bra, ket = _spinor(line[:, 0], hand).conj(), _spinor(line[:, 1], hand)
    pair_bra, pair_ket = (
        _spinor(pair[:, 0], pair_hand).conj(),
        _spinor(pair[:, 1], pair_hand),
    )
    # Fierz: the photon's two vertices become one outer product of spinors, 2 u w.
    u, w = (
        (_turned(pair_bra), _turned(pair_ket))
        if hand == pair_hand
        else (pair_ket, pair_bra)
    )
    before, after = line[:, 0] + photon, line[:, 1] + photon
    from_lepton = _vector(_through(before, hand, w, from_left=True), ket, hand)
    from_lepton *= (bra * u).sum(axis=0) / _squared(before)
    from_antilepton = _vector(bra, _through(after, hand, u, from_left=False), hand)
    from_antilepton *= (w * ket).sum(axis=0) / _squared(after)
    found: Complex = (
        2 * _COUPLING[hand] / _squared(photon) * (from_lepton - from_antilepton)
    )
    return found


def _spinor(momentum: NDArray[np.float64], hand: str) -> Complex:
    """Return the two-component spinor of a massless lepton, shape (2, n)."""
    energy, px, py, pz = momentum.T
    plus = np.sqrt(np.maximum(energy + pz, 1e-12))
    other = (px + 1j * py) / plus
    if hand == "R":
        return np.stack([plus + 0j, other])
    return np.stack([-other.conj(), plus + 0j])


def _turned(spinor: Complex) -> Complex:
    """Return the spinor times the antisymmetric tensor."""
    return np.stack([spinor[1], -spinor[0]])


def _through(
    momentum: NDArray[np.float64], hand: str, spinor: Complex, *, from_left: bool
) -> Complex:
    """Return a spinor times the numerator of a line's propagator, shape (2, n)."""
    energy, px, py, pz = momentum.T
    sign = -1.0 if hand == "L" else 1.0
    across = sign * (px + 1j * py)
    one, two = (across, across.conj()) if from_left else (across.conj(), across)
    return np.stack(
        [
            spinor[0] * (energy + sign * pz) + spinor[1] * one,
            spinor[0] * two + spinor[1] * (energy - sign * pz),
        ]
    )


def _vector(left: Complex, right: Complex, hand: str) -> Complex:
    """Return two spinors around a line's vertex, shape (4, n)."""
    a, b = left[0] * right[1], left[1] * right[0]
    straight, turned = left[0] * right[0], left[1] * right[1]
    sign = -1.0 if hand == "L" else 1.0
    space = np.stack([a + b, -1j * a + 1j * b, straight - turned])
    return np.concatenate([(straight + turned)[None], sign * space])


def _contracted(amplitude: Complex) -> NDArray[np.float64]:
    """Return the squared vector, summed over the polarisations of the Z."""
    squares = np.abs(amplitude) ** 2
    summed: NDArray[np.float64] = squares[1:].sum(axis=0) - squares[0]
    return summed
