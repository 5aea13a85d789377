"""What a training is judged by: ROC curves, progress, importances, efficiencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from agc.show.style import add_label, styled
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.model_store import ALIASES
from agc.ttbar.ml.search import Result, best
from agc.ttbar.ml.training import Quality, Training, unseen_margins
from agc.ttbar.ml.training_data import TrainingData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_efficiencies", "plot_importances", "plot_progress", "plot_roc"]

_COLOURS = {"trained_on_even": "#e42536", "trained_on_odd": "#5790fc"}
_NAMES = {"trained_on_even": "trained on even", "trained_on_odd": "trained on odd"}


def _figure(size: tuple[float, float] = (6.2, 5.0)) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def plot_roc(data: TrainingData, training: Training, *, label: str) -> Figure:
    """Draw right permutations kept against wrong ones kept, of events not trained on.

    There is a curve for each model; ``label``, above them, says whose events these are.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    margins = unseen_margins(data, training.models).reshape(data.features.shape[:2])
    with styled():
        figure, axes = _figure()
        for alias in ALIASES:
            odd = alias == "trained_on_even"
            unseen = data.of_parity(int(odd))
            scores = margins[data.event % 2 == int(odd)].reshape(-1)
            wrong, right, _ = roc_curve(unseen.labels, scores)
            area = roc_auc_score(unseen.labels, scores)
            name = f"{_NAMES[alias]} (area {area:.3f})"
            axes.plot(wrong, right, color=_COLOURS[alias], label=name)
        axes.plot([0, 1], [0, 1], color="black", linestyle=":", label="by chance")
        axes.set_xlabel("Wrong permutations kept")
        axes.set_ylabel("Right permutations kept")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.legend(loc="lower right")
        add_label(axes, label)
    return figure


def plot_progress(results: Sequence[Result], *, label: str) -> Figure:
    """Draw the loss on unseen events after each round of each trial.

    It is the mean of both models; the best trial stands out.
    """
    found = best(results)
    with styled():
        figure, axes = _figure()
        for result in results:
            losses = np.mean(list(result.training.losses.values()), axis=0)
            chosen = result is found
            axes.plot(
                np.arange(1, len(losses) + 1),
                losses,
                color="#e42536" if chosen else "#9c9ca1",
                linewidth=2.2 if chosen else 1.2,
                zorder=2 if chosen else 1,
                label=f"best: {result.trial.name}" if chosen else None,
            )
        axes.set_xlabel("Round")
        axes.set_ylabel("Logarithmic loss on unseen events")
        axes.set_xlim(left=0)
        axes.legend()
        add_label(axes, label)
    return figure


def plot_importances(training: Training, *, label: str) -> Figure:
    """Draw what each feature gains the two models.

    That is XGBoost's total gain, as a fraction of all features'.
    """
    import xgboost

    rows = np.arange(len(FEATURES))
    shares: dict[str, Any] = {}
    for alias in ALIASES:
        content: bytes = getattr(training.models, alias)
        booster = xgboost.Booster(model_file=bytearray(content))
        gains = booster.get_score(importance_type="total_gain")
        values = np.array([gains.get(feature.name, 0.0) for feature in FEATURES])
        shares[alias] = values / values.sum()
    order = np.argsort(sum(shares.values()))
    with styled():
        figure, axes = _figure((7.0, 6.5))
        for shift, alias in zip((-0.2, 0.2), ALIASES, strict=True):
            axes.barh(
                rows + shift,
                shares[alias][order],
                height=0.4,
                color=_COLOURS[alias],
                label=_NAMES[alias],
            )
        names = [FEATURES[i].label.removesuffix(" [GeV]") for i in order]
        axes.set_yticks(rows, names)
        axes.tick_params(axis="y", which="minor", left=False, right=False)
        axes.set_xlabel("Share of the total gain")
        axes.legend(loc="lower right")
        add_label(axes, label)
    return figure


def plot_efficiencies(quality: Quality, *, label: str) -> Figure:
    """Draw how often the jets are assigned right, against the main analysis's way.

    The quality is that of both models together, and the uncertainties are binomial.
    """
    bars = {
        "largest $p_T$ of\nthree jets together": quality.largest_trijet_efficiency,
        "BDT: three jets\nof the top quark": quality.trijet_efficiency,
        "BDT: all four jets\nin their roles": quality.efficiency,
    }
    values = np.array(list(bars.values()))
    with styled():
        figure, axes = _figure()
        axes.bar(
            list(bars),
            values,
            yerr=np.sqrt(values * (1 - values) / quality.events),
            color=["#9c9ca1", "#5790fc", "#e42536"],
            capsize=4,
        )
        for i, value in enumerate(values):
            axes.text(i, value / 2, f"{value:.1%}", ha="center", color="white")
        axes.tick_params(axis="x", which="both", bottom=False, top=False, labelsize=11)
        axes.set_ylabel("Events assigned right")
        axes.set_ylim(0, 1)
        add_label(axes, label)
    return figure
