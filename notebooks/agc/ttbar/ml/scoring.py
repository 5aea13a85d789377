"""Where permutations are scored: on the site's Triton server, or in the task itself."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agc.served.predictor import IN_PROCESS, Predictor, predictor
from agc.ttbar.ml.jet_assignment import AssignmentModels, permutation_scores
from agc.ttbar.ml.model_store import MODEL_NAME, model_versions
from agc.ttbar.permutations import FIRST_PERMUTATION
from casa_env.settings import load_settings

if TYPE_CHECKING:
    from agc.inputs.columns import FloatArray, IntArray
    from casa_env.settings import Settings

__all__ = ["Assignment", "InferenceReport", "assignment_here", "score"]


@dataclass(frozen=True)
class Assignment:
    """What a task needs to assign jets: the models, and the server's address.

    It holds no token: a worker finds its own.
    """

    models: AssignmentModels
    triton: tuple[tuple[str, Any], ...] = ()
    """Settings of the Triton server, by name; none: score in the task."""


@dataclass(frozen=True)
class InferenceReport:
    """How many permutations were scored where; reports are added with ``+``."""

    rows: Counter[str] = field(default_factory=Counter)
    """Permutations, by place."""
    fallbacks: frozenset[str] = frozenset()
    """Why a server was given up, where one was."""

    def __add__(self, other: InferenceReport) -> InferenceReport:
        """Return both together."""
        return InferenceReport(self.rows + other.rows, self.fallbacks | other.fallbacks)

    def __str__(self) -> str:
        """Return one line for each place, and for each fallback."""
        lines = []
        for place, count in sorted(self.rows.items()):
            where = place if place == IN_PROCESS else f"on {place}"
            lines.append(f"{count:,} permutations scored {where}")
        lines += [f"given up: {reason}" for reason in sorted(self.fallbacks)]
        return "\n".join(lines)


def assignment_here(
    models: AssignmentModels, settings: Settings | None = None
) -> Assignment:
    """Return what tasks are to assign jets with at this place.

    On a laptop and on Binder they score themselves. At a facility with a Triton server
    that does; it is asked for both models before any task begins.

    Raises
    ------
    InferenceError
        The server does not have these models, refuses us, or cannot be reached and
        ``triton_fallback`` is false.
    """
    settings = settings or load_settings()
    if not settings.triton_url:
        return Assignment(models)
    for version in model_versions(models):
        asked = predictor(MODEL_NAME, version, settings=settings)
        asked.check()
        asked.close()
    names = ("triton_url", "triton_ca_file", "triton_timeout_s", "triton_fallback")
    return Assignment(models, tuple((n, getattr(settings, n)) for n in names))


def score(
    assignment: Assignment,
    event: IntArray,
    n_jets: IntArray,
    features: FloatArray,
) -> tuple[npt.NDArray[np.float32], InferenceReport]:
    """Score every permutation of some events with the model not trained on them.

    Arrays and margins are those of `agc.ttbar.ml.jet_assignment.permutation_scores`,
    the same bits wherever they come from, which the report says. An `InferenceError` is
    as from `agc.served.predictor.Predictor.predict`.
    """
    if not assignment.triton:
        scores = permutation_scores(assignment.models, event, n_jets, features)
        return scores, InferenceReport(Counter({IN_PROCESS: len(features)}))
    odd = np.repeat(event % 2 == 1, np.diff(FIRST_PERMUTATION)[n_jets])
    scores = np.empty(len(features), np.float32)
    report = InferenceReport()
    for scorer, rows in zip(_predictors(assignment), (odd, ~odd), strict=True):
        scores[rows] = scorer.predict(features[rows])
        found = InferenceReport(
            Counter({scorer.place: int(rows.sum())}),
            frozenset({scorer.fallback} if scorer.fallback else ()),
        )
        report = report + found
    return scores, report


_LOCK = threading.Lock()


def _predictors(assignment: Assignment) -> tuple[Predictor, ...]:
    """Return this process's predictors: they know whether the server is lost."""
    with _LOCK:
        return _made(assignment)


@lru_cache(maxsize=2)
def _made(assignment: Assignment) -> tuple[Predictor, ...]:
    settings = load_settings(**dict(assignment.triton))
    return tuple(
        predictor(MODEL_NAME, version, settings=settings)
        for version in model_versions(assignment.models)
    )
