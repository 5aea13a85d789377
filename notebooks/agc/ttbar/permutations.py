"""The ways to assign an event's jets to the quarks of a top-quark pair.

One top quark decays to three jets, two of them from the W boson, the other to a jet
and a lepton. A permutation names four of the event's leading jets for the four
`ROLES`, in this order.
"""

from __future__ import annotations

import itertools
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

__all__ = [
    "FIRST_PERMUTATION",
    "MAX_JETS",
    "PERMUTATIONS",
    "ROLES",
    "Role",
    "permutations_of",
]

#: A jet's part in the decay: the W boson's two jets, the hadronically decaying top
#: quark's b jet, and the leptonically decaying one's.
Role: TypeAlias = Literal["w1", "w2", "b_had", "b_lep"]

ROLES: tuple[Role, ...] = get_args(Role)

#: Jets beyond this many are not considered (AGC reference implementation, c37bf59).
MAX_JETS = 6


def permutations_of(n_jets: int) -> list[tuple[int, ...]]:
    """Return the assignments of four or more jets to the four roles.

    There are ``n! / (2 (n - 4)!)``, in lexicographic order. The W boson's jets are
    exchangeable: of the two orders the later one in lexicographic order is kept.

    Examples
    --------
    >>> permutations_of(4)[:3]
    [(1, 0, 2, 3), (1, 0, 3, 2), (2, 0, 1, 3)]
    """
    return [
        permutation
        for permutation in itertools.permutations(range(n_jets), len(ROLES))
        if permutation[0] > permutation[1]
    ]


def _table() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the permutations of 4, 5, ... jets and where each number's begin."""
    rows: list[tuple[int, ...]] = []
    first = [0] * len(ROLES)
    for n_jets in range(len(ROLES), MAX_JETS + 1):
        first.append(len(rows))
        rows += permutations_of(n_jets)
    first.append(len(rows))
    return np.array(rows, np.int64), np.array(first, np.int64)


#: `PERMUTATIONS` holds those of 4, 5 and 6 jets, shape (252, 4): the ones of ``n`` jets
#: from ``FIRST_PERMUTATION[n]`` to ``FIRST_PERMUTATION[n + 1]``.
PERMUTATIONS, FIRST_PERMUTATION = _table()
