"""What a recorded run was made of: its model, its environment, its inputs' digest."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from casa_env.errors import TrackingError
from casa_env.settings import Settings, load_settings
from casa_env.settings.table import shown
from casa_env.tracking import RECORD
from casa_env.tracking_store import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["RunInfo", "run_info"]


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What anybody who has a run's id can find out."""

    run_id: str
    name: str
    experiment: str
    status: str
    started: str
    """UTC, ISO 8601."""
    environment_id: str
    python: str
    git_commit: str
    git_dirty: bool
    site: str
    fileset_sha256: str
    models: dict[str, dict[str, str]] = field(default_factory=dict)
    """By registered name, version and aliases: URI for ``mlflow``, and SHA-256."""
    lock: str = ""
    """URI of the lock, or of the list of packages."""
    metrics: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)

    def lines(self) -> str:
        """Return it as a Markdown list."""
        dirty = " (with uncommitted changes)" if self.git_dirty else ""
        lines = [
            f"* run: {self.run_id} ({self.name}, {self.status.lower()})",
            f"* experiment: {self.experiment}",
            f"* started: {self.started}",
            f"* site: {self.site or 'not recorded'}",
            f"* environment: {self.environment_id or 'not recorded'}",
            f"* python: {self.python or 'not recorded'}",
            f"* packages: {self.lock or 'not recorded'}",
            f"* code: {self.git_commit or 'not recorded'}{dirty}",
            f"* inputs: sha256 {self.fileset_sha256 or 'not recorded'}",
        ]
        lines += [
            f"* model: {name}, {about['uri']}, sha256 {about['sha256']}"
            for name, about in self.models.items()
        ]
        lines += [f"* {name}: {value:.6g}" for name, value in self.metrics.items()]
        return "\n".join(lines)


def run_info(run_id: str, *, settings: Settings | None = None) -> RunInfo:
    """Find out what a run was made of.

    On a laptop and on Binder runs are looked up in the user's home; at a facility on
    its server.

    Parameters
    ----------
    run_id
        The run's id.
    settings
        Settings to use; by default those of this place.

    Returns
    -------
    RunInfo
        What `casa_env.mlflow_run` recorded; fields of other runs may be empty.

    Raises
    ------
    TrackingError
        If there is no such run, or the store cannot be used.
    """
    import mlflow

    client = connect(settings or load_settings())
    try:
        run = client.get_run(run_id)
        experiment = client.get_experiment(run.info.experiment_id).name
        artefacts = [one.path for one in client.list_artifacts(run_id, RECORD)]
        models = _models(client, run_id)
    except mlflow.MlflowException as err:
        what = f"There is no run {run_id} here: {str(err).splitlines()[0]}"
        step = "Look at the id, or set mlflow_uri to the store that it is in."
        where = shown(client.tracking_uri)
        raise TrackingError(what, looked_at=where, next_step=step) from err
    tags = run.data.tags
    locks = sorted(one for one in artefacts if one.endswith(".lock")) or [
        one for one in artefacts if one.endswith("packages.txt")
    ]
    started = dt.datetime.fromtimestamp(run.info.start_time / 1000, dt.UTC)
    return RunInfo(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        experiment=experiment,
        status=run.info.status,
        started=started.isoformat(timespec="seconds"),
        environment_id=tags.get("casa.environment_id", ""),
        python=tags.get("casa.python", ""),
        git_commit=tags.get("casa.git_commit", ""),
        git_dirty=tags.get("casa.git_dirty") == "true",
        site=tags.get("casa.site", ""),
        fileset_sha256=tags.get("casa.fileset_sha256", ""),
        models=models,
        lock=f"runs:/{run_id}/{locks[0]}" if locks else "",
        metrics=dict(run.data.metrics),
    )


def _models(client: MlflowClient, run_id: str) -> dict[str, dict[str, str]]:
    """Return the versions that were registered from a run."""
    import mlflow

    found = {}
    versions = client.search_model_versions(f"run_id = '{run_id}'")
    for version in sorted(versions, key=lambda one: (one.name, int(one.version))):
        uri = f"models:/{version.name}/{version.version}"
        metadata = mlflow.models.get_model_info(uri).metadata or {}
        # Only a version asked for by itself comes with its aliases.
        aliases = client.get_model_version(version.name, version.version).aliases
        title = f"{version.name} version {version.version}"
        if aliases:
            title += f" ({', '.join(aliases)})"
        sha256 = str(metadata.get("sha256", "not recorded"))
        found[title] = {"uri": uri, "sha256": sha256}
    return found
