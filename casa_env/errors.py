"""What can go wrong: what happened, what was looked at, what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "CasaEnvError",
    "CellError",
    "ClusterError",
    "CredentialsError",
    "EnvironmentMismatchError",
    "HubTokenError",
    "InferenceCertificateError",
    "InferenceError",
    "InferenceRefusedError",
    "InferenceTimeoutError",
    "KernelError",
    "MissingPackageError",
    "ModelMismatchError",
    "ModelShapeError",
    "NoSourceError",
    "NotebookError",
    "NotebookTimeoutError",
    "NothingThereError",
    "ParameterError",
    "PathsError",
    "ServerLostError",
    "SettingsError",
    "ShippingError",
    "TokenAudienceError",
    "TokenExpiredError",
    "TokenInvalidError",
    "TokenMissingError",
    "TokenRefusedError",
    "TokenScopeError",
    "TrackingError",
    "TrialKilledError",
    "UnknownModelError",
    "UnreachableError",
    "WorkersError",
]


class CasaEnvError(Exception):
    """The root of everything that casa_env raises on purpose.

    The three fields survive pickling, so that an error raised in a Dask worker
    arrives whole in the notebook.

    Parameters
    ----------
    what
        What happened, in one sentence.
    looked_at
        What was looked at: the file and line, the variable, the address.
    next_step
        What to do next: a command, or the setting to change.

    Examples
    --------
    >>> print(CasaEnvError("No answer.", looked_at="port 1", next_step="Start it."))
    No answer.
      looked at: port 1
      next step: Start it.
    """

    def __init__(self, what: str, *, looked_at: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.looked_at = looked_at
        self.next_step = next_step

    def __str__(self) -> str:
        """Return the three fields, one a line; empty ones are left out."""
        lines = [self.what]
        if self.looked_at:
            lines.append(f"  looked at: {self.looked_at}")
        if self.next_step:
            lines.append(f"  next step: {self.next_step}")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by fields: ``Exception`` would call the class with ``args`` only."""
        return _rebuild, (type(self), self.args, dict(self.__dict__))


def _rebuild(
    cls: type[CasaEnvError], args: tuple[Any, ...], fields: dict[str, Any]
) -> CasaEnvError:
    """Make an error again from what `CasaEnvError.__reduce__` gave."""
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(fields)
    return error


class SettingsError(CasaEnvError):
    """A setting is unknown, has the wrong type, or its file cannot be read."""


class PathsError(CasaEnvError, OSError):
    """No place was found where caches and state can be written."""


class MissingPackageError(CasaEnvError):
    """A package that this function needs is not installed."""


class ClusterError(CasaEnvError):
    """A Dask cluster could not be started, or the back end cannot do this."""


class UnreachableError(ClusterError):
    """A scheduler did not answer in time, or refused us."""


class NoSourceError(CasaEnvError, OSError):
    """None of a file's sources delivered it."""


class NothingThereError(NoSourceError, FileNotFoundError):
    """All of a file's sources say that it is not there."""


class TrackingError(CasaEnvError):
    """A run cannot be recorded, or is not there."""


class TrialKilledError(TrackingError):
    """A trial was told to stop, or may not go on: its run was marked as killed."""


class InferenceError(CasaEnvError):
    """A model did not score."""


class ServerLostError(InferenceError):
    """The inference server cannot be reached, or went away."""


class InferenceTimeoutError(InferenceError):
    """The inference server did not answer within the call's deadline."""


class InferenceRefusedError(InferenceError):
    """The inference server refused our token, or wants one."""


class InferenceCertificateError(InferenceError):
    """The inference server's certificate has expired or is not to be trusted."""


class UnknownModelError(InferenceError):
    """The inference server does not have this model, or not this version."""


class ModelMismatchError(InferenceError):
    """The inference server has another model of the same name and version."""


class ModelShapeError(InferenceError, ValueError):
    """The features have another shape or type than the model takes."""


class CredentialsError(CasaEnvError):
    """A token, a proxy or a certificate is missing, wrong or cannot be read."""


class TokenMissingError(CredentialsError):
    """No bearer token was found where one is needed."""


class TokenInvalidError(CredentialsError):
    """What was found is no bearer token, or not valid yet."""


class TokenExpiredError(CredentialsError):
    """The bearer token has expired."""


class TokenAudienceError(CredentialsError):
    """The bearer token is for other services."""


class TokenScopeError(CredentialsError):
    """The bearer token does not allow what is to be done."""


class TokenRefusedError(CredentialsError):
    """A server refused the bearer token."""


class WorkersError(ClusterError):
    """Workers did not come in time, or failed."""


class ShippingError(ClusterError):
    """Code or packages could not be brought to the workers."""


class EnvironmentMismatchError(ClusterError):
    """A scheduler or a worker has another environment than the client.

    Parameters
    ----------
    what
        What happened, in one sentence.
    differences
        For each scheduler or worker: package, the client's version, theirs.
    looked_at, next_step
        As for `CasaEnvError`.
    """

    def __init__(
        self,
        what: str,
        *,
        differences: Mapping[str, tuple[tuple[str, ...], ...]],
        looked_at: str = "",
        next_step: str = "",
    ) -> None:
        super().__init__(what, looked_at=looked_at, next_step=next_step)
        self.differences = dict(differences)


class HubTokenError(CasaEnvError):
    """The hub did not give the token of its user's login."""


class NotebookError(CasaEnvError):
    """A notebook cannot be read, run or written."""


class ParameterError(NotebookError):
    """A parameter is not one that the notebook has, or has another type."""


class KernelError(NotebookError):
    """The notebook's kernel did not start, or died."""


class NotebookTimeoutError(NotebookError):
    """The notebook took longer than it was given."""


class CellError(NotebookError):
    """A cell raised an error.

    Parameters
    ----------
    what
        What happened, in one sentence.
    source
        The source of the cell.
    traceback
        The traceback as IPython coloured it, with ANSI escapes.
    looked_at, next_step
        As for `CasaEnvError`.
    """

    def __init__(
        self,
        what: str,
        *,
        source: str,
        traceback: str,
        looked_at: str = "",
        next_step: str = "",
    ) -> None:
        super().__init__(what, looked_at=looked_at, next_step=next_step)
        self.source = source
        self.traceback = traceback
