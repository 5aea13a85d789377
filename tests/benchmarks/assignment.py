"""What the jet assignment costs, in ours and with a pass per variation."""

from __future__ import annotations

from functools import partial

import numpy as np

from agc.fast.kernel import FILLED_VARIATIONS
from agc.inputs.samples import sample_named
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.jet_assignment import FeatureSums, assignment_models
from benchmarks.assignment_models import MAX_DEPTH, N_TREES, train
from benchmarks.inputs import EVENTS, Input
from benchmarks.measurement import medians
from benchmarks.nanoevents_version import our_resolution, run_nanoevents
from benchmarks.ours import run_bare, run_with_assignment
from benchmarks.verdicts import verdict

TARGET = 4.0

#: Of the signal events, at most so many may get another permutation in the two
#: versions: one computes features in single precision, and some cross a tree's cut.
MAX_DISAGREEMENT = 0.005


def print_assignment(files: list[Input]) -> None:
    """Print events per second with the BDT; stop if the two versions disagree."""
    classifiers = train()
    models = assignment_models(
        trained_on_even=classifiers.trained_on_even.get_booster(),
        trained_on_odd=classifiers.trained_on_odd.get_booster(),
    )
    print(
        f"\nWith the jet assignment, two models of {N_TREES} trees, depth {MAX_DEPTH}, "
        "in kHz on the core\n(ours without the Runner of coffea):"
    )
    for file in files:
        run = partial(
            run_nanoevents, file.fileset, chunksize=EVENTS, classifiers=classifiers
        )
        ours = run_with_assignment(file, models)
        moved = _disagreement(file, ours, run(resolution=our_resolution))
        if moved > MAX_DISAGREEMENT:
            msg = f"{file.label}: {moved:.1%} of the events are assigned differently"
            raise SystemExit(msg)
        times = medians(
            {
                "without": partial(run_bare, file),
                "with": partial(run_with_assignment, file, models),
                "NanoEvents": run,
            },
            repeats=3,
        )
        khz = {name: EVENTS / seconds.core / 1e3 for name, seconds in times.items()}
        gain = khz["with"] / khz["NanoEvents"]
        print(
            f"  {file.label:16} NanoEvents and predict_proba {khz['NanoEvents']:6.1f}, "
            f"ours {khz['with']:6.0f} (without BDT {khz['without']:6.0f}): "
            f"{gain:5.1f} times {verdict(gain, TARGET)}; {ours.events[0]} events, "
            f"{ours.ties[0]} ties, {moved:.2%} assigned differently",
            flush=True,
        )


def _disagreement(file: Input, ours: FeatureSums, theirs: dict[str, object]) -> float:
    """Return the largest fraction of a histogram's events that are in other bins."""
    process = sample_named(file.sample).process
    largest = 0.0
    for i, feature in enumerate(FEATURES):
        for j, label in enumerate(FILLED_VARIATIONS):
            cell = {"process": process, "variation": label}
            expected = theirs[feature.name][cell].values(flow=True)
            moved = np.abs(ours.sums[i, j, :, 0] - expected).sum() / 2
            largest = max(largest, moved / max(expected.sum(), 1.0))
    return largest
