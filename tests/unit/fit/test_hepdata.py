from __future__ import annotations

import json
import resource
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hist
import numpy as np
import pytest
import yaml

from agc.hists.build import REGIONS
from agc.hists.spectra import contents, spectrum, variances
from agc.inputs.config import Config
from agc.inputs.samples import PROCESS_LABELS, PROCESSES
from agc.inputs.variations import SYSTEMATICS
from agc.model.fit import Fit
from agc.show.hepdata import write_submission

Histograms = dict[str, hist.Hist[Any]]
LABEL = "Simulation by us, not CMS data"


@pytest.fixture(scope="module")
def write(
    templates: Histograms,
    data: Histograms,
    workspace: dict[str, Any],
    fit: Fit,
    config: Config,
) -> Callable[[Path], list[Path]]:
    """Return what writes the submission into a folder."""
    result: dict[str, Any] = {"templates": templates, "data": data, "fit": fit}
    result |= {"workspace": workspace, "config": config, "label": LABEL}
    return partial(write_submission, **result)


@pytest.fixture(scope="module")
def submission(
    tmp_path_factory: pytest.TempPathFactory, write: Callable[[Path], list[Path]]
) -> Path:
    folder = tmp_path_factory.mktemp("hepdata") / "new"
    written = write(folder)
    assert sorted(written) == sorted(p for p in folder.rglob("*") if p.is_file())
    return folder / "tables"


def table(submission: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(
        (submission / f"{name}.yaml").read_text(encoding="utf-8")
    )
    return content


def column(content: dict[str, Any], name: str) -> list[dict[str, Any]]:
    (found,) = (
        variable["values"]
        for variable in content["dependent_variables"]
        if variable["header"]["name"] == name
    )
    return list(found)


def upwards(error: dict[str, Any]) -> float:
    """Return a change upwards, which is one number where both sides are the same."""
    change = error.get("asymerror", {"plus": error.get("symerror")})["plus"]
    return float(change)


def validated(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run HEPData's own program; it leaves files open, so not in this process."""
    program = "from hepdata_validator.cli import validate; validate()"
    return subprocess.run(
        [sys.executable, "-c", program, "--directory", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_hepdata_accepts_the_submission(submission: Path) -> None:
    report = validated(submission)
    assert report.returncode == 0, report.stdout + report.stderr
    assert "prefit_4j1b.yaml is valid" in report.stdout


def test_hepdata_would_notice_a_missing_column(
    submission: Path, tmp_path: Path
) -> None:
    for file in submission.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    broken = table(submission, "prefit_4j1b")
    broken["dependent_variables"][0]["values"].pop()
    (tmp_path / "prefit_4j1b.yaml").write_text(yaml.safe_dump(broken))
    report = validated(tmp_path)
    assert report.returncode != 0
    assert "Inconsistent length" in report.stdout + report.stderr


def test_every_table_says_whose_events_these_are(submission: Path) -> None:
    text = (submission / "submission.yaml").read_text(encoding="utf-8")
    first, *tables = yaml.safe_load_all(text)
    assert LABEL in first["comment"]
    assert len(tables) == 2 * len(REGIONS) + 2
    for document in tables:
        assert LABEL in document["description"]


def test_each_region_has_its_own_axis(submission: Path) -> None:
    for region in REGIONS:
        (bins,) = table(submission, f"prefit_{region.name}")["independent_variables"]
        found = [b["low"] for b in bins["values"]] + [bins["values"][-1]["high"]]
        np.testing.assert_allclose(found, np.linspace(110, 550, 12))
        header = bins["header"]
        assert f"{header['name']} [{header['units']}]" == region.observable


def test_the_archive_for_hepdata_has_all_of_it(submission: Path) -> None:
    with tarfile.open(submission.parent / "submission.tar.gz") as archive:
        inside = sorted(archive.getnames())
    assert inside == sorted(path.name for path in submission.iterdir())


@pytest.mark.fault(
    "lost", "no space for the archive for HEPData", "the earlier one stays"
)
def test_an_archive_that_cannot_be_written_leaves_the_earlier_one(
    tmp_path: Path, write: Callable[..., list[Path]]
) -> None:
    write(tmp_path)
    (tmp_path / "tables" / "of_a_region_that_is_no_more.yaml").touch()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    most = max(map(len, before.values()))
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path, label="x" * most)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before
    assert sorted(write(tmp_path)) == sorted(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("region", [region.name for region in REGIONS])
def test_yields_before_the_fit_are_the_histograms(
    submission: Path, templates: Histograms, data: Histograms, region: str
) -> None:
    content = table(submission, f"prefit_{region}")
    total = np.zeros(11)
    for process in PROCESSES:
        expected = contents(spectrum(templates[region], process, "nominal"))
        found = [row["value"] for row in column(content, PROCESS_LABELS[process])]
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        total += expected
    found = [row["value"] for row in column(content, "Total prediction")]
    np.testing.assert_allclose(found, total, rtol=1e-5)
    rows = column(content, "Pseudo-data")
    found = [row["value"] for row in rows]
    np.testing.assert_allclose(found, contents(data[region]), rtol=1e-5)
    found = [row["errors"][0]["symerror"] for row in rows]
    np.testing.assert_allclose(found, variances(data[region]) ** 0.5, rtol=1e-5)


def test_uncertainties_before_the_fit_are_listed_one_by_one(
    submission: Path, templates: Histograms
) -> None:
    row = column(table(submission, "prefit_4j2b"), PROCESS_LABELS["ttbar"])[1]
    errors = {error["label"]: error for error in row["errors"]}
    acting = [s.label for s in SYSTEMATICS if "ttbar" in s.processes]
    assert list(errors) == ["stat", *acting, "Luminosity"]
    template = templates["4j2b"]
    nominal, up, down, mirrored = (
        contents(spectrum(template, "ttbar", variation))[1]
        for variation in ("nominal", "scaleup", "scaledown", "ME_var")
    )
    two_sided = errors["ttbar scale variations"]["asymerror"]
    assert two_sided["plus"] == pytest.approx(up - nominal, rel=1e-4)
    assert two_sided["minus"] == pytest.approx(down - nominal, rel=1e-4)
    one_sided = errors["ME variation"]
    assert one_sided["symerror"] == pytest.approx(mirrored - nominal, rel=1e-4)
    variance = spectrum(template, "ttbar", "nominal").variances()[1]
    assert errors["stat"]["symerror"] == pytest.approx(variance**0.5, rel=1e-5)
    assert upwards(errors["Luminosity"]) == pytest.approx(0.03 * nominal, rel=1e-5)


def test_in_the_sum_systematics_add_linearly_and_statistics_in_quadrature(
    submission: Path,
) -> None:
    content = table(submission, "prefit_4j1b")

    def errors(name: str) -> dict[str, dict[str, Any]]:
        return {e["label"]: e for e in column(content, name)[4]["errors"]}

    parts = [errors(PROCESS_LABELS[process]) for process in PROCESSES]
    total = errors("Total prediction")
    scale = sum(upwards(part["Jet energy scale"]) for part in parts)
    assert upwards(total["Jet energy scale"]) == pytest.approx(scale, rel=1e-4)
    stat = sum(part["stat"]["symerror"] ** 2 for part in parts) ** 0.5
    assert total["stat"]["symerror"] == pytest.approx(stat, rel=1e-4)


def test_yields_after_the_fit_are_the_models(submission: Path, fit: Fit) -> None:
    content = table(submission, "postfit_4j2b")
    config = fit.postfit.model.config
    channel = config.channels.index("4j2b")
    for process in PROCESSES:
        sample = config.samples.index(process)
        rows = column(content, PROCESS_LABELS[process])
        np.testing.assert_allclose(
            [row["value"] for row in rows],
            fit.postfit.model_yields[channel][sample],
            rtol=1e-5,
        )
        np.testing.assert_allclose(
            [row["errors"][0]["symerror"] for row in rows],
            fit.postfit.total_stdev_model_bins[channel][sample],
            rtol=1e-5,
        )


def test_parameters_and_correlations_are_the_fits(submission: Path, fit: Fit) -> None:
    labels = fit.results.labels
    rows = column(table(submission, "fit_parameters"), "Best-fit value")
    norm = rows[labels.index("ttbar_norm")]
    assert norm["value"] == pytest.approx(fit.poi.value, rel=1e-5)
    asymmetric = norm["errors"][0]["asymerror"]
    assert asymmetric["plus"] == pytest.approx(fit.poi.up, rel=1e-5)
    assert asymmetric["minus"] == pytest.approx(-fit.poi.down, rel=1e-5)
    found = [
        row["value"]
        for row in column(table(submission, "fit_correlations"), "Correlation")
    ]
    np.testing.assert_allclose(found, fit.results.corr_mat.ravel(), atol=1e-5)


def test_the_statistical_model_is_part_of_the_submission(
    submission: Path, workspace: dict[str, Any]
) -> None:
    assert json.loads((submission / "workspace.json").read_text()) == workspace
