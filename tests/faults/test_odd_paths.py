"""Paths with what means something in a URL."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from agc.fast.skims import load_skim
from agc.inputs.filesets import standin_fileset
from casa_env import mlflow_run

ODD = ("run#3", "what?", "100%41", "50%", "a b", "a:b", "[x]*")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=pytest.mark.fault(
                "paths", f"a file and its skims below {name}", "the same events"
            ),
        )
        for name in ODD
    ],
)
@pytest.mark.parametrize("kind", ["path", "file:// and path", "file URL"])
def test_a_skim_is_made_and_read_whatever_the_path(
    name: str, kind: str, tmp_path: Path
) -> None:
    source = next(iter(standin_fileset()["ttbar__nominal"]["files"]))
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(source, folder / f"{name}.root")
    path = folder / f"{name}.root"
    file = {"path": str(path), "file URL": path.as_uri()}.get(kind, f"file://{path}")
    made = load_skim(file, "Events", folder / "skims")
    assert len(list((folder / "skims").glob("*/*.parquet"))) == 1
    again = load_skim(file, "Events", folder / "skims")
    wanted = load_skim(str(source), "Events", tmp_path / "plain")
    assert wanted.entries == made.entries == again.entries
    assert wanted.events.event.tolist() == again.events.event.tolist()


@pytest.mark.fault(
    "paths", "a home with #, ?, % and a space", "MLflow's runs are in it"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow")
def test_runs_are_recorded_in_a_home_of_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    home = tmp_path / "a#b?c%41 d"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    try:
        with mlflow_run("odd"):
            mlflow.log_text("content", "t.txt")
    finally:
        mlflow.set_tracking_uri(None)
    folder = home / ".local" / "state" / "casa-env" / "mlflow"
    assert (folder / "mlflow.db").stat().st_size > 0
    assert [file.read_text() for file in folder.rglob("t.txt")] == ["content"]
    assert list(tmp_path.iterdir()) == [home]
