"""What the jet assignment learns from: events with four leading jets understood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from agc.errors import AnalysisError, InputFileError
from agc.fast.columns import BRANCHES, read_columns
from agc.fast.selection import BTAG_THRESHOLD
from agc.inputs.pieces import Piece, pieces_of, run_tasks
from agc.inputs.rootfiles import entries_and_uuid, load_arrays
from agc.ttbar.features import FEATURES
from agc.ttbar.ml.assignments import (
    ASSIGNMENT_BRANCHES,
    permutation_features,
    read_assignment_columns,
    signal_events,
)
from agc.ttbar.ml.truth import (
    TRUTH_BRANCHES,
    jet_labels,
    read_truth_columns,
    true_roles,
)
from agc.ttbar.permutations import (
    FIRST_PERMUTATION,
    PERMUTATIONS,
    ROLES,
    permutations_of,
)

if TYPE_CHECKING:
    from coffea.processor.executor import ExecutorBase

    from agc.inputs.filesets import Fileset

__all__ = ["N_PERMUTATIONS", "TRAINING_DATASET", "TrainingData", "training_data"]

#: The only sample with a truth to learn.
TRAINING_DATASET = "ttbar__nominal"

_BRANCHES = {**BRANCHES, **ASSIGNMENT_BRANCHES, **TRUTH_BRANCHES}

#: Ways to assign the four leading jets.
N_PERMUTATIONS = len(permutations_of(len(ROLES)))

_COLUMN = {feature.name: i for i, feature in enumerate(FEATURES)}


class TrainingData(NamedTuple):
    """Events in which each of the four leading jets comes from a quark of its own."""

    event: npt.NDArray[np.uint64]
    """The events' numbers; shape (events,)."""
    features: npt.NDArray[np.float32]
    """Of the twelve permutations of the four leading jets, in the order of
    `agc.ttbar.permutations`; columns as `agc.ttbar.features.FEATURES`; shape (events,
    12, 20)."""
    right: npt.NDArray[np.int64]
    """Which of the twelve is the right one; shape (events,)."""
    looked_at: int
    """Signal events that these were chosen from."""

    def of_parity(self, odd: int) -> TrainingData:
        """Return the events with an even (0) or odd (1) number."""
        return self._chosen(self.event % 2 == odd)

    def split(self) -> tuple[TrainingData, TrainingData]:
        """Return two thirds to learn from and choose by, and a third to judge by.

        By the events' numbers; both have even and odd ones.
        """
        untouched = self.event // 2 % 3 == 2  # noqa: PLR2004 - the last third
        return self._chosen(~untouched), self._chosen(untouched)

    def _chosen(self, chosen: npt.NDArray[np.bool_]) -> TrainingData:
        return self._replace(
            event=self.event[chosen],
            features=self.features[chosen],
            right=self.right[chosen],
        )

    @property
    def rows(self) -> npt.NDArray[np.float32]:
        """One row for each permutation; shape (12 * events, 20)."""
        return self.features.reshape(-1, len(FEATURES))

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """Whether each row is the right permutation; shape (12 * events,)."""
        labels = np.arange(N_PERMUTATIONS) == self.right[:, None]
        return np.asarray(labels.reshape(-1))

    @property
    def largest_trijet(self) -> npt.NDArray[np.int64]:
        """Return what the main analysis takes: the trijet with the largest pt.

        The place among the twelve permutations, shape (events,), of one whose three
        jets of the hadronic top quark, at least one of them b-tagged, have the largest
        pt of their sum. Which of the three is the b jet it does not say.
        """
        tags = [_COLUMN[f"btag_{jet}"] for jet in ("w1", "w2", "btophad")]
        tagged = (self.features[:, :, tags] > BTAG_THRESHOLD).any(axis=2)
        pt = self.features[:, :, _COLUMN["pt_w1w2btophad"]]
        best: npt.NDArray[np.int64] = np.argmax(np.where(tagged, pt, -1), axis=1)
        return best


def training_data(
    fileset: Fileset, executor: ExecutorBase, *, chunksize: int = 200_000
) -> TrainingData:
    """Read the events to learn from, of the nominal top-quark pairs.

    They are in the order of files and entries; neither the executor, which may be any
    of coffea's, nor the events for one task change the result.

    Raises
    ------
    InputFileError
        A file cannot be used.
    AnalysisError
        No event is understood.
    """
    dataset = fileset[TRAINING_DATASET]
    metadata = dataset["metadata"]
    sample = metadata["process"], metadata["variation"]
    pieces = [
        piece
        for file, tree in dataset["files"].items()
        for piece in pieces_of(
            Piece(TRAINING_DATASET, sample, file, tree),
            entries_and_uuid(file, tree, _BRANCHES)["numentries"],
            chunksize,
        )
    ]
    found = run_tasks(_read, pieces, executor, description="Reading")["parts"]
    for part in found.values():
        if isinstance(part, InputFileError):
            raise part
    parts: list[TrainingData] = [found[piece] for piece in pieces]
    data = TrainingData(
        np.concatenate([part.event for part in parts]),
        np.concatenate([part.features for part in parts]),
        np.concatenate([part.right for part in parts]),
        sum(part.looked_at for part in parts),
    )
    if not len(data.event):
        msg = (
            f"of {data.looked_at} events in {len(dataset['files'])} files none has its "
            "four leading jets from four quarks: read more files"
        )
        raise AnalysisError(msg)
    return data


def _read(piece: Piece) -> dict[str, Any]:
    """Read one piece, or say why it cannot be read."""
    try:
        return {"parts": {piece: _learnable(piece)}}
    except InputFileError as error:
        return {"parts": {piece: error}}


def _learnable(piece: Piece) -> TrainingData:
    """Return the events of a piece that can be learned from."""
    wanted: dict[str, Any] = {"entry_start": piece.start, "entry_stop": piece.stop}
    arrays, _ = load_arrays(piece.file, piece.tree, _BRANCHES, **wanted)
    events = read_columns(arrays, file=piece.file)
    columns = read_assignment_columns(arrays, events, file=piece.file)
    truth = read_truth_columns(arrays, file=piece.file)
    signal = signal_events(events, columns, 0, np.empty(0))
    roles = true_roles(jet_labels(events, truth, signal))
    features, _ = permutation_features(
        events, columns, 0, np.empty(0), signal, 0, len(signal.event)
    )
    table = np.array(permutations_of(len(ROLES)))
    understood = np.flatnonzero(roles[:, 0] >= 0)
    rows = np.empty((len(understood), N_PERMUTATIONS), np.int64)
    for i, s in enumerate(understood):
        rows[i] = signal.offsets[s] + _OF_LEADING[signal.n_jets[s]]
    right = (table[None] == roles[understood, None]).all(axis=2).argmax(axis=1)
    return TrainingData(
        events.event[signal.event[understood]].astype(np.uint64),
        features[rows],
        right,
        len(signal.event),
    )


#: By number of jets: which of the permutations are those of the four leading ones.
_OF_LEADING = {
    n: np.flatnonzero(
        (
            PERMUTATIONS[FIRST_PERMUTATION[n] : FIRST_PERMUTATION[n + 1]] < len(ROLES)
        ).all(axis=1)
    )
    for n in range(len(ROLES), len(FIRST_PERMUTATION) - 1)
}
