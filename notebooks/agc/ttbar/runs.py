"""The switch between engines, and the ttbar analysis from files to histograms."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agc.errors import AnalysisError
from agc.fast.engine import CompiledTtbar
from agc.hists.run import CHUNK_SIZE, OnBadFile, Result, run_analysis
from agc.ttbar.config import ttbar_config
from agc.ttbar.edits import edits_of

if TYPE_CHECKING:
    import hist
    from coffea.processor.executor import ExecutorBase

    from agc.hists.run import AnyFileset
    from agc.hists.tasks import Processor, Tallying
    from agc.inputs.config import Config
    from agc.ttbar.ml.scoring import Assignment, InferenceReport

__all__ = ["EditedAnalysisError", "TtbarResult", "compiled_engine", "run_ttbar"]


class EditedAnalysisError(AnalysisError):
    """The compiled kernel was asked for an analysis that is not the kernel's."""


@dataclass(frozen=True)
class TtbarResult(Result):
    """A run's histograms, and those of the jets that were assigned."""

    features: dict[str, hist.Hist[Any]] = field(default_factory=dict)
    """By feature of the best jet assignment, normalised."""
    inference: InferenceReport | None = None
    """Where permutations were scored."""


def compiled_engine(
    processor: Processor,
    *,
    skims: Path | None = None,
    assignment: Assignment | None = None,
) -> CompiledTtbar:
    """Return the compiled kernel in the place of a notebook's unedited processor.

    New processes and datasets are no edit, and neither are fit channels. ``skims`` and
    ``assignment`` are those of `run_ttbar`.

    Raises
    ------
    EditedAnalysisError
        The kernel does not compute what this processor does; the message says what
        was edited.
    """
    edits = edits_of(processor)
    if edits:
        msg = (
            f"the compiled kernel is not this analysis: {', '.join(edits)} edited. Use "
            'ENGINE = "columnar", which runs what the notebook shows'
        )
        raise EditedAnalysisError(msg)
    return _engine(processor.config, skims, assignment)


def run_ttbar(
    fileset: AnyFileset,
    executor: ExecutorBase,
    *,
    chunksize: int = CHUNK_SIZE,
    on_bad_file: OnBadFile = "raise",
    cores: int = 1,
    skims: Path | None = None,
    assignment: Assignment | None = None,
    engine: Processor | Tallying | None = None,
) -> TtbarResult:
    """Run the analysis from files to normalised histograms.

    The options up to ``cores`` are those of `agc.hists.run.run_analysis`.

    Parameters
    ----------
    skims
        Folder of a skim cache, for example `agc.fast.skims.skim_folder()`: a file that
        is read is kept there as the events that could be selected, and running again
        reads only those. The result is the same. Tasks are then whole files. None:
        every event is read, and nothing is kept.
    assignment
        Assign the signal events' jets with this
        (`agc.ttbar.ml.scoring.assignment_here`) and histogram what was chosen, in the
        same pass.
    engine
        The notebook's processor, or `compiled_engine`'s; by default the compiled kernel
        with the task's own configuration, and the two options before.

    Raises
    ------
    InputFileError, UnknownProcessError, AnalysisError
        As `agc.hists.run.run_analysis`; or jets are to be assigned from skims, which
        lack the columns.
    InferenceError
        Jets are to be assigned by a server that fails, without a fallback.
    """
    if engine is None:
        engine = _engine(ttbar_config(), skims, assignment)
    result = run_analysis(
        fileset,
        engine,
        executor,
        chunksize=chunksize,
        on_bad_file=on_bad_file,
        cores=cores,
    )
    found: dict[str, Any] = {
        one.name: getattr(result, one.name) for one in fields(result)
    }
    if getattr(engine, "with_features", None) is not None:
        from agc.ttbar.ml.feature_tasks import collected_features

        features, report = collected_features(result, engine.config)
        found |= {"features": features, "inference": report}
    return TtbarResult(**found)


def _engine(
    config: Config, skims: Path | None, assignment: Assignment | None
) -> CompiledTtbar:
    if skims is not None and assignment is not None:
        msg = "skims do not have the columns for assigning jets: use one of the two"
        raise AnalysisError(msg)
    with_features = None
    if assignment is not None:
        from agc.ttbar.ml.feature_tasks import tally_with_features

        with_features = partial(tally_with_features, assignment=assignment)
    return CompiledTtbar(replace(config), skims=skims, with_features=with_features)
