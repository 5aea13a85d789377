"""The counter-based random numbers of the jet resolution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agc.ttbar.smearing import philox4x32, standard_normal

ALL_ONES = 0xFFFFFFFF

#: Counter, key and expected words of philox4x32-10: Random123 1.14.0, kat_vectors.
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (ALL_ONES,) * 4,
        (ALL_ONES,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_philox_gives_its_authors_known_answers(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert philox4x32(*counter, *key) == expected


def test_the_numbers_are_standard_normal() -> None:
    z = np.array([standard_normal(1, 7, e, j) for e in range(20_000) for j in range(5)])
    n = len(z)
    # each moment within four standard deviations of its expectation
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs((z**2).mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)


@pytest.mark.parametrize(
    "other",
    [(2, 1, 1, 0), (1, 2, 1, 0), (1, 1, 2, 0), (1, 1, 1 + 2**32, 0), (1, 1, 1, 1)],
)
def test_every_part_of_a_jets_identity_matters(other: tuple[int, ...]) -> None:
    assert standard_normal(*other) != standard_normal(1, 1, 1, 0)


def test_the_same_jet_gets_the_same_number() -> None:
    assert standard_normal(1, 2, 3, 4) == standard_normal(1, 2, 3, 4)
