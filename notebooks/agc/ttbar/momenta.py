"""Jets in Cartesian coordinates, with the compiled kernel's functions.

numpy's vectorised sines differ from the C library's in the last digit, on some
processors: enough to choose another one of two combinations of jets that are equal.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from agc.compiled import compiled

if TYPE_CHECKING:
    import awkward as ak

    from agc.inputs.columns import FloatArray

__all__ = ["cartesian"]


@compiled
def directions(
    eta: FloatArray, phi: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the momentum of a pt of 1."""
    x, y, z = np.empty(len(eta)), np.empty(len(eta)), np.empty(len(eta))
    for i in range(len(eta)):
        x[i] = math.cos(np.float64(phi[i]))
        y[i] = math.sin(np.float64(phi[i]))
        z[i] = math.sinh(np.float64(eta[i]))
    return x, y, z


def cartesian(objects: ak.Array) -> ak.Array:
    """Return ``px``, ``py``, ``pz`` and ``energy`` of objects, in double precision.

    The objects have ``pt``, ``eta``, ``phi`` and ``mass``; one list for each event.
    """
    import awkward as ak

    flat = ak.flatten(objects)
    eta, phi, pt, mass = (
        ak.to_numpy(flat[name]) for name in ("eta", "phi", "pt", "mass")
    )
    px, py, pz = (np.float64(1) * pt * one for one in directions(eta, phi))
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass.astype(np.float64) ** 2)
    momenta = ak.zip({"px": px, "py": py, "pz": pz, "energy": energy})
    return ak.unflatten(momenta, ak.num(objects))
