from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cabinetry
import hist
import numpy as np
import pyhf
import pytest

from agc.hists.build import REGIONS
from agc.hists.spectra import contents, spectrum
from agc.inputs.config import Config
from agc.inputs.samples import PROCESSES
from agc.inputs.variations import SYSTEMATICS
from agc.model.pseudodata import pseudodata
from agc.model.templates import EmptyTemplateError
from agc.model.workspace import build_workspace, configuration

Histograms = dict[str, hist.Hist[Any]]


def modifiers(workspace: dict[str, Any], region: str, process: str) -> dict[Any, Any]:
    channel = next(c for c in workspace["channels"] if c["name"] == region)
    sample = next(s for s in channel["samples"] if s["name"] == process)
    return {(m["name"], m["type"]): m["data"] for m in sample["modifiers"]}


def test_the_workspace_obeys_pyhfs_schema(workspace: dict[str, Any]) -> None:
    pyhf.schema.validate(workspace, "workspace.json")
    broken = {**workspace, "channels": "none"}
    with pytest.raises(pyhf.exceptions.InvalidSpecification):
        pyhf.schema.validate(broken, "workspace.json")


def test_every_systematic_is_in_the_model_exactly_once(
    templates: Histograms, tmp_path: Path, config: Config
) -> None:
    described = configuration(templates, config, tmp_path)
    assert cabinetry.configuration.validate(described)
    names = [systematic["Name"] for systematic in described["Systematics"]]
    assert names == [*(s.label for s in SYSTEMATICS), "Luminosity"]
    assert [s["Name"] for s in described["Samples"]] == ["pseudodata", *PROCESSES]
    assert [r["Name"] for r in described["Regions"]] == [r.name for r in REGIONS]


@pytest.mark.parametrize("process", PROCESSES)
def test_a_systematic_acts_on_its_processes_and_on_no_other(
    workspace: dict[str, Any], process: str
) -> None:
    names = {name for name, kind in modifiers(workspace, "4j1b", process)}
    expected = {s.label for s in SYSTEMATICS if process in s.processes}
    expected |= {"Luminosity", "staterror_4j1b"}
    assert names == expected | ({"ttbar_norm"} if process == "ttbar" else set())


def test_the_parameter_of_interest_starts_at_one_between_zero_and_ten(
    workspace: dict[str, Any],
) -> None:
    (measurement,) = workspace["measurements"]
    assert measurement["config"] == {
        "poi": "ttbar_norm",
        "parameters": [{"name": "ttbar_norm", "inits": [1.0], "bounds": [[0, 10]]}],
    }


def test_a_one_sided_variation_is_mirrored(
    workspace: dict[str, Any], templates: Histograms
) -> None:
    of_ttbar = modifiers(workspace, "4j2b", "ttbar")
    nominal, up = (
        contents(spectrum(templates["4j2b"], "ttbar", v)) for v in ("nominal", "ME_var")
    )
    norm = of_ttbar["ME variation", "normsys"]
    assert norm["hi"] == pytest.approx(up.sum() / nominal.sum())
    assert norm["hi"] + norm["lo"] == pytest.approx(2)
    shape = of_ttbar["ME variation", "histosys"]
    np.testing.assert_allclose(shape["hi_data"], up / norm["hi"])
    np.testing.assert_allclose(np.add(shape["hi_data"], shape["lo_data"]), 2 * nominal)


def test_a_two_sided_variation_keeps_its_own_downward_template(
    workspace: dict[str, Any], templates: Histograms
) -> None:
    norm = modifiers(workspace, "4j1b", "ttbar")["ttbar scale variations", "normsys"]
    nominal, down = (
        contents(spectrum(templates["4j1b"], "ttbar", v)).sum()
        for v in ("nominal", "scaledown")
    )
    assert norm["lo"] == pytest.approx(down / nominal)


def test_luminosity_is_three_percent_and_statistics_come_from_the_variances(
    workspace: dict[str, Any], templates: Histograms
) -> None:
    of_wjets = modifiers(workspace, "4j2b", "wjets")
    assert of_wjets["Luminosity", "normsys"] == {"hi": 1.03, "lo": 0.97}
    variance = spectrum(templates["4j2b"], "wjets", "nominal").variances()
    np.testing.assert_allclose(of_wjets["staterror_4j2b", "staterror"], variance**0.5)


def test_data_of_weighted_events_make_the_bins_less_certain(
    templates: Histograms, config: Config
) -> None:
    """Those of 4j1b weigh 1, as if they were counted; those of 4j2b weigh 4."""
    own = {}
    for (region, one), event in zip(templates.items(), (1.0, 4.0), strict=True):
        edges, processes, variations = one.axes
        names = [*processes, config.data]
        own[region] = hist.Hist(
            edges,
            hist.axis.StrCategory(names, name="process"),
            variations,
            storage=hist.storage.Weight(),
        )
        view = own[region].view()
        view[:, :-1, :] = one.view()
        for name in ("ME_var", "PS_var"):
            values = contents(spectrum(one, "ttbar", name))
            row = variations.index(name)
            view["value"][:, -1, row] = values
            view["variance"][:, -1, row] = 2 * values * event
    made = build_workspace(own, pseudodata(own), config)
    for region, event in (("4j1b", 1.0), ("4j2b", 4.0)):
        nominal = spectrum(templates[region], "ttbar", "nominal")
        halves = [
            contents(spectrum(templates[region], "ttbar", name))
            for name in ("ME_var", "PS_var")
        ]
        beyond = np.mean(halves, axis=0) * (event - 1)
        found = modifiers(made, region, "ttbar")[f"staterror_{region}", "staterror"]
        np.testing.assert_allclose(found, np.sqrt(nominal.variances() + beyond))


def test_the_observations_are_the_data(
    workspace: dict[str, Any], data: Histograms
) -> None:
    for observation in workspace["observations"]:
        np.testing.assert_allclose(
            observation["data"], contents(data[observation["name"]])
        )


def test_the_same_histograms_make_the_same_file(
    workspace: dict[str, Any],
    templates: Histograms,
    data: Histograms,
    tmp_path: Path,
    config: Config,
) -> None:
    again = build_workspace(
        templates, data, config, folder=tmp_path / "a" / "templates"
    )
    cabinetry.workspace.save(workspace, tmp_path / "first.json")
    cabinetry.workspace.save(again, tmp_path / "second.json")
    first, second = (tmp_path / f"{n}.json" for n in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_template_files_go_where_the_caller_says_and_nowhere_else(
    templates: Histograms,
    data: Histograms,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: Config,
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    monkeypatch.chdir(here)
    build_workspace(templates, data, config)
    build_workspace(templates, data, config, folder=there)
    assert list(here.iterdir()) == []
    assert (there / "4j1b_ttbar_modified.npz").is_file()


def test_an_empty_template_stops_the_build_before_any_file(
    templates: Histograms, data: Histograms, tmp_path: Path, config: Config
) -> None:
    emptied = {region: one.copy().reset() for region, one in templates.items()}
    with pytest.raises(EmptyTemplateError, match="4j1b/ttbar/nominal"):
        build_workspace(emptied, data, config, folder=tmp_path / "templates")
    assert not (tmp_path / "templates").exists()


def test_single_empty_bins_are_no_reason_to_worry_the_user(
    templates: Histograms,
    data: Histograms,
    caplog: pytest.LogCaptureFixture,
    config: Config,
) -> None:
    sparse = {region: histogram.copy() for region, histogram in templates.items()}
    process = PROCESSES.index("wjets")
    sparse["4j2b"].view()["value"][7, process, :] = 0
    sparse["4j2b"].view()["variance"][7, process, :] = 0
    with caplog.at_level(logging.INFO):
        build_workspace(sparse, data, config)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []
    assert logging.getLogger("cabinetry.histo").level == logging.NOTSET
