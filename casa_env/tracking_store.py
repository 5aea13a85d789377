"""Where runs are recorded: the site's MLflow server, or a database in one's home."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from casa_env.errors import CasaEnvError, MissingPackageError, TrackingError
from casa_env.settings import Settings
from casa_env.settings.table import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["artifact_folder", "connect", "is_server", "server_version", "tracking_uri"]

#: Where everything of a laptop's runs is, below the state home.
FOLDER: Final = Path("casa-env", "mlflow")


def state_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return where runs are kept where no server is: below ``XDG_STATE_HOME``."""
    environ = os.environ if environ is None else environ
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("XDG_STATE_HOME") or home / ".local" / "state") / FOLDER


def tracking_uri(
    settings: Settings, *, environ: Mapping[str, str] | None = None
) -> str:
    """Return where this place records runs.

    On a laptop and on Binder an SQLite database below ``XDG_STATE_HOME``; at a facility
    the server that its file names.

    Parameters
    ----------
    settings
        The settings of this place.
    environ
        Environment variables; by default those of this process.

    Returns
    -------
    str
        An MLflow tracking URI.
    """
    if settings.mlflow_uri:
        return settings.mlflow_uri
    return f"sqlite:///{state_folder(environ) / 'mlflow.db'}"


def is_server(uri: str) -> bool:
    """Tell whether a tracking URI is that of a server, not of a file or a database.

    Examples
    --------
    >>> is_server("https://mlflow.example.org"), is_server("sqlite:////tmp/x.db")
    (True, False)
    """
    return urlsplit(uri).scheme in ("http", "https")


def artifact_folder(
    uri: str, *, environ: Mapping[str, str] | None = None
) -> Path | None:
    """Return where a database's artefacts go; ``None`` where its store decides.

    MLflow's own choice for a database is ``mlruns`` in the working directory. Here they
    stay beside an SQLite file, and below the state home with another database.

    Parameters
    ----------
    uri
        An MLflow tracking URI.
    environ
        Environment variables; by default those of this process.
    """
    scheme = urlsplit(uri).scheme
    if scheme == "sqlite":
        return Path(unquote(uri.removeprefix("sqlite:///"))).parent / "artifacts"
    if scheme.partition("+")[0] in ("postgresql", "mysql", "mssql"):
        return state_folder(environ) / "artifacts"
    return None


def connect(settings: Settings, *, uri: str | None = None) -> MlflowClient:
    """Point MLflow at this place's store and return its client.

    Parameters
    ----------
    settings
        The settings of this place.
    uri
        Another store, such as that of a run to join; by default this place's.

    Returns
    -------
    mlflow.MlflowClient
        MLflow's own client.

    Raises
    ------
    TrackingError
        If the store cannot be used: a server that does not answer within
        ``timeout_s``, or a database that cannot be opened.
    MissingPackageError
        If MLflow is not installed.

    Notes
    -----
    ``mlflow.set_tracking_uri`` holds for the whole process, and MLflow notes it in
    ``MLFLOW_TRACKING_URI`` for the processes that this one starts. MLflow's telemetry,
    which reports usage to its makers, is switched off unless the user set
    ``MLFLOW_DISABLE_TELEMETRY``: a facility's work nodes have nothing to tell, and may
    reach nobody.
    """
    try:
        import mlflow
        from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY
        from mlflow.telemetry import client as telemetry
    except ImportError as err:
        what = "MLflow is not installed here."
        raise MissingPackageError(what, next_step="pip install mlflow") from err
    from casa_env.mlflow_tokens import send_tokens

    if not MLFLOW_DISABLE_TELEMETRY.is_set():  # type: ignore[no-untyped-call]
        telemetry._set_telemetry_client(None)  # noqa: SLF001 - the only switch that is not a variable
    uri = uri or tracking_uri(settings)
    if is_server(uri):
        send_tokens(settings)
        server_version(uri, settings)
    mlflow.set_tracking_uri(uri)
    try:
        folder = artifact_folder(uri)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        return mlflow.MlflowClient(uri)
    except (mlflow.MlflowException, OSError) as err:
        what = f"Runs cannot be recorded: {err}."
        step = "Correct mlflow_uri, or leave it empty to keep runs in your home."
        raise TrackingError(what, looked_at=shown(uri), next_step=step) from err


def server_version(uri: str, settings: Settings) -> str:
    """Ask a tracking server for its version, with the user's token, within a bound.

    Parameters
    ----------
    uri
        The server's URL.
    settings
        The settings of this place; the server has ``timeout_s`` to answer.

    Returns
    -------
    str
        MLflow's version.

    Raises
    ------
    TrackingError
        If it does not answer, refuses us, or is no MLflow server.
    """
    import requests

    from casa_env.mlflow_tokens import BearerAuth

    where = f"{shown(uri)}, from {settings.origin('mlflow_uri')}"
    root = uri.rstrip("/")
    step = "Correct mlflow_uri, or ask whether the server is up."
    auth = BearerAuth(settings)
    try:
        version = requests.get(f"{root}/version", auth=auth, timeout=settings.timeout_s)
        # Servers answer the first to anybody; this one is what runs need.
        probe = requests.get(
            f"{root}/api/2.0/mlflow/experiments/get-by-name",
            params={"experiment_name": "Default"},
            auth=auth,
            timeout=settings.timeout_s,
        )
    except CasaEnvError:
        raise
    except (requests.RequestException, OSError) as err:
        what = f"The MLflow server does not answer: {_reason(err)}."
        raise TrackingError(what, looked_at=where, next_step=step) from err
    if probe.status_code in (401, 403):
        what = f"The MLflow server refused us ({probe.status_code} {probe.reason})."
        step = (
            "Get a token (`casa-env doctor` shows yours), and see that token_hosts has "
            "the server's host: a token goes to no other."
        )
        raise TrackingError(what, looked_at=where, next_step=step)
    if not version.ok or probe.status_code not in (200, 404):
        what = f"This is no MLflow server: it says {version.status_code} to /version."
        raise TrackingError(what, looked_at=where, next_step=step)
    return version.text.strip()


def _reason(error: Exception) -> str:
    """Return the innermost cause of a failed request, without its URL."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return (getattr(cause, "strerror", None) or type(cause).__name__).lower()
