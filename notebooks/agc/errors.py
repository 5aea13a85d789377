"""What can be wrong with the inputs of an analysis, each as its own error."""

from __future__ import annotations

from casa_env.errors import redacted

__all__ = [
    "AnalysisError",
    "CatalogError",
    "ImplausibleUnitsError",
    "InputFileError",
    "MissingBranchError",
    "MissingTreeError",
    "UnknownProcessError",
    "UnreadableFileError",
    "workers_died",
]


class AnalysisError(Exception):
    """Anything that the analysis code reports about its inputs.

    Neither the text nor a traceback shows the secrets of a URL: where others' errors
    are quoted, they are not the cause.
    """

    def __str__(self) -> str:
        """Return what is wrong, without secrets of URLs."""
        return redacted(super().__str__())


def workers_died(task: str) -> AnalysisError:
    """Return the error of workers that a task has ended, each time it was tried."""
    msg = (
        f"Every worker that began {task} died. Most often memory does not suffice: "
        "give each worker more (CASA_ENV_DASK_WORKER_MEMORY_BYTES), or each task fewer "
        "events (CHUNK_SIZE). Or a library crashes there: the workers' logs say more."
    )
    return AnalysisError(msg)


class CatalogError(AnalysisError):
    """The catalog of the AGC's inputs cannot be had, or is not the one expected."""


class UnknownProcessError(AnalysisError):
    """A fileset names a process or a variation that the task does not have."""


class InputFileError(AnalysisError):
    """One input file, a path or URL, cannot be used; ``cause`` is one sentence."""

    can_be_skipped = False
    """Whether the run that found it could have gone on without the file."""

    def __init__(self, file: str, cause: str) -> None:
        super().__init__(file, cause)
        self.file = file
        self.cause = redacted(cause)

    def __str__(self) -> str:
        """Return what is wrong, where, and what can be done."""
        skip = ', or go on without such files with on_bad_file="skip"'
        advice = f"Mend or remove the file{skip if self.can_be_skipped else ''}."
        return f"{redacted(self.file)}: {self.cause}. {advice}"


class UnreadableFileError(InputFileError):
    """The file is missing, truncated, no ROOT file, or its server failed."""


class MissingTreeError(InputFileError):
    """The file has no tree (or RNTuple) of the name wanted."""


class MissingBranchError(InputFileError):
    """The tree lacks a branch that the analysis reads."""


class ImplausibleUnitsError(InputFileError):
    """Momenta are in another unit than the branches have, MeV taken for GeV say."""
