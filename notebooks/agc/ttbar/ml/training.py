"""Train the jet assignment: two classifiers, each judged on the other's events."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agc.ttbar.features import FEATURES
from agc.ttbar.ml.jet_assignment import (
    AssignmentModels,
    assignment_models,
    permutation_scores,
)
from agc.ttbar.ml.training_data import N_PERMUTATIONS, TrainingData
from agc.ttbar.permutations import ROLES, permutations_of

if TYPE_CHECKING:
    import xgboost

__all__ = [
    "Hyperparameters",
    "Quality",
    "Training",
    "assess",
    "candidates",
    "quality",
    "train",
    "unseen_margins",
]

#: Of the search and of every training: the same data give the same models.
SEED = 20151113


@dataclass(frozen=True)
class Hyperparameters:
    """What XGBoost is told; the names are its own."""

    max_depth: int = 4
    n_estimators: int = 100
    learning_rate: float = 0.1
    min_child_weight: float = 5.0
    subsample: float = 0.8
    reg_lambda: float = 1.0


#: What the search draws from, each with equal chance.
CHOICES: dict[str, tuple[float, ...]] = {
    "max_depth": (3, 4, 5, 6),
    "n_estimators": (50, 100, 150, 200),
    "learning_rate": (0.05, 0.1, 0.2, 0.3),
    "min_child_weight": (1.0, 5.0, 20.0),
    "subsample": (0.6, 0.8, 1.0),
    "reg_lambda": (0.3, 1.0, 3.0),
}


def candidates(n: int, *, seed: int = SEED) -> list[Hyperparameters]:
    """Draw hyper-parameters to try, all different, the defaults first.

    There is at least one; of a longer list, the first are the same.
    """
    generator = random.Random(seed)  # noqa: S311 - no secret
    drawn = [Hyperparameters()]
    while len(drawn) < n:
        chosen: dict[str, Any] = {k: generator.choice(v) for k, v in CHOICES.items()}
        one = Hyperparameters(**chosen)
        if one not in drawn:
            drawn.append(one)
    return drawn[:n]


@dataclass(frozen=True)
class Quality:
    """How well a model does on events that it has not seen."""

    auc: float
    """Area under the ROC curve of single permutations."""

    log_loss: float
    """Mean logarithmic loss of single permutations."""

    efficiency: float
    """Fraction of events whose best permutation is the right one."""

    trijet_efficiency: float
    """Fraction whose three jets of the hadronic top quark are the right ones."""

    largest_trijet_efficiency: float
    """The same, if they are those with the largest pt of their sum."""

    events: int
    """Events that it was judged by."""


def quality(data: TrainingData, margins: npt.NDArray[np.float32]) -> Quality:
    """Judge the scores of a model on events that it was not trained on.

    Margins, the log-odds of each permutation, have the shape (12 * events,): they are
    of the four leading jets' permutations; with more jets there are more.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    best = margins.reshape(-1, N_PERMUTATIONS).argmax(axis=1)
    # The three jets are right if the fourth is.
    fourth = np.array(permutations_of(len(ROLES)))[:, ROLES.index("b_lep")]
    probabilities = 1 / (1 + np.exp(-margins.astype(np.float64)))
    return Quality(
        auc=float(roc_auc_score(data.labels, margins)),
        log_loss=float(log_loss(data.labels, probabilities)),
        efficiency=float((best == data.right).mean()),
        trijet_efficiency=float((fourth[best] == fourth[data.right]).mean()),
        largest_trijet_efficiency=float(
            (fourth[data.largest_trijet] == fourth[data.right]).mean()
        ),
        events=len(data.event),
    )


@dataclass(frozen=True)
class Training:
    """Two classifiers of the same hyper-parameters, and how well they do together."""

    hyperparameters: Hyperparameters
    models: AssignmentModels
    losses: dict[str, list[float]]
    """By ``"trained_on_even"`` and ``"trained_on_odd"``: the logarithmic loss on the
    other parity's events after each round."""

    @property
    def parameters(self) -> dict[str, float]:
        """The hyper-parameters by name."""
        return asdict(self.hyperparameters)


def train(
    data: TrainingData,
    hyperparameters: Hyperparameters,
    *,
    after_round: Callable[[str, int, float], None] | None = None,
    threads: int = 1,
) -> Training:
    """Train a classifier on the even events and another one on the odd events.

    ``after_round`` is called with the model's name, the round and the loss on the other
    events; what it raises ends the training. The result is the same every time; another
    number of threads, which are the cores to compute on, may give other bits.
    """
    boosters, losses = {}, {}
    halves = {"even": data.of_parity(0), "odd": data.of_parity(1)}
    for parity, other in (("even", "odd"), ("odd", "even")):
        name = f"trained_on_{parity}"
        boosters[name], losses[name] = _fit(
            name,
            halves[parity],
            halves[other],
            hyperparameters,
            threads,
            after_round,
        )
    return Training(hyperparameters, assignment_models(**boosters), losses)


def _fit(  # noqa: PLR0917 - a private function of one caller
    name: str,
    seen: TrainingData,
    unseen: TrainingData,
    hyperparameters: Hyperparameters,
    threads: int,
    after_round: Callable[[str, int, float], None] | None,
) -> tuple[xgboost.Booster, list[float]]:
    """Train one classifier; return it and its losses."""
    import xgboost

    class Watch(xgboost.callback.TrainingCallback):
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ANN401 - XGBoost's
            del model
            if after_round is not None:
                after_round(name, epoch, evals_log["unseen"]["logloss"][-1])
            return False

    names = [feature.name for feature in FEATURES]
    matrices = [
        xgboost.DMatrix(half.rows, half.labels, feature_names=names, nthread=threads)
        for half in (seen, unseen)
    ]
    parameters = asdict(hyperparameters)
    rounds = parameters.pop("n_estimators")
    history: dict[str, Any] = {}
    booster = xgboost.train(
        {
            **parameters,
            "objective": "binary:logistic",
            "eval_metric": "logloss",
            "tree_method": "hist",
            "nthread": threads,
            "seed": SEED,
        },
        matrices[0],
        rounds,
        evals=[(matrices[1], "unseen")],
        evals_result=history,
        callbacks=[Watch()],
        verbose_eval=False,
    )
    return booster, list(history["unseen"]["logloss"])


def assess(data: TrainingData, models: AssignmentModels) -> Quality:
    """Judge two classifiers, each on the events that it was not trained on."""
    return quality(data, unseen_margins(data, models))


def unseen_margins(
    data: TrainingData, models: AssignmentModels
) -> npt.NDArray[np.float32]:
    """Return the log-odds of every permutation by the model that has not seen it."""
    n_jets = np.full(len(data.event), len(ROLES))
    return permutation_scores(models, data.event, n_jets, data.rows)
