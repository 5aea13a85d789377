"""What an analyst adds to agc-ttbar.ipynb, in as many lines as it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from coffea.processor import IterativeExecutor

from agc.inputs.filesets import standin_fileset
from agc.ttbar.runs import EditedAnalysisError, compiled_engine, run_ttbar
from support.nanoaod import random_events, write_file
from support.notebook import analysis_code, run_code

QUIET = IterativeExecutor(status=False)


def run_with(
    lines: str, fileset: dict[str, Any], most: int, **names: object
) -> tuple[Any, Any]:
    """Run the notebook's analysis with some lines added after its ``config``."""
    assert len(lines.strip().splitlines()) <= most
    namespace = run_code(analysis_code("agc-ttbar"))
    namespace |= {"fileset": fileset, **names}
    exec(lines, namespace)  # noqa: S102 - what an analyst would write
    processor = namespace["processor"]
    return run_ttbar(namespace["fileset"], QUIET, engine=processor), processor


@pytest.fixture
def own_file(tmp_path: Path) -> str:
    return write_file(tmp_path / "own.root", random_events(400))


def some() -> dict[str, Any]:
    names = ("wjets__nominal", "single_top_s_chan__nominal")
    return {name: standin_fileset()[name] for name in names}


def test_a_histogram_with_all_variations_is_one_line() -> None:
    lines = (
        'config.add_variable("leading_jet_pt", lambda events: events.Jet.pt[:, 0],\n'
        '    region="4j2b", bins=(25, 30, 430), label="Leading jet $p_T$ [GeV]")'
    )
    result, processor = run_with(lines, some(), 3)
    added, known = result.histograms["leading_jet_pt"], result.histograms["4j2b"]
    for variation in processor.config.variations_of("wjets"):
        one, other = (
            h[{"process": "wjets", "variation": variation}].sum(flow=True).value
            for h in (added, known)
        )
        assert one == pytest.approx(other)
        assert one > 0
    assert "leading_jet_pt" not in processor.config.fit_channels


def test_a_weight_systematic_is_one_line() -> None:
    lines = (
        'config.add_systematic("slope",\n'
        "    lambda events: 1 + 0.001 * events.Jet.pt[:, 0],\n"
        "    lambda events: 1 - 0.001 * events.Jet.pt[:, 0])"
    )
    result, processor = run_with(lines, some(), 3)
    histogram = result.histograms["4j1b"]
    down, nominal, up = (
        histogram[{"process": "wjets", "variation": name}].sum(flow=True).value
        for name in ("slope_down", "nominal", "slope_up")
    )
    assert down < nominal < up
    assert up + down == pytest.approx(2 * nominal)
    with pytest.raises(EditedAnalysisError, match="slope"):
        compiled_engine(processor)


def test_a_process_is_two_lines(own_file: str) -> None:
    lines = (
        'config.add_process("wz", label="WZ", colour="#7a21dd")\n'
        'fileset["wz"] = {"files": {own_file: "Events"},\n'
        '    "metadata": {"process": "wz", "xsec_pb": 50.0}}'
    )
    result, _ = run_with(lines, some(), 4, own_file=own_file)
    histogram = result.histograms["4j2b"]
    for variation in ("nominal", "pt_scale_up", "btag_var_0_up"):
        cell = {"process": "wz", "variation": variation}
        assert histogram[cell].sum(flow=True).value > 0


def test_ones_own_files_count_with_their_cross_section(own_file: str) -> None:
    def lines(xsec_pb: float) -> str:
        return (
            'fileset = {"mine": {"files": [own_file],\n'
            f'    "metadata": {{"process": "ttbar", "xsec_pb": {xsec_pb}}}}}}}'
        )

    once, twice = (
        run_with(lines(xsec), {}, 4, own_file=own_file)[0].histograms["4j2b"]
        for xsec in (400.0, 800.0)
    )
    assert once.sum(flow=True).value > 0
    assert twice.sum(flow=True).value == pytest.approx(2 * once.sum(flow=True).value)


def test_the_notebooks_own_analysis_is_the_kernels() -> None:
    namespace = run_code(analysis_code("agc-ttbar"))
    compiled_engine(namespace["processor"])  # else set KERNEL_FINGERPRINT, and say why


def test_an_edited_cut_changes_the_result_and_is_not_the_kernels() -> None:
    code = analysis_code("agc-ttbar")
    edited = run_code(code.replace("(jets.pt > 30)", "(jets.pt > 40)"))["processor"]
    shipped = run_code(code)["processor"]
    few, many = (
        run_ttbar(some(), QUIET, engine=one).counts["4j1b"].sum().value
        for one in (edited, shipped)
    )
    assert 0 < few < many
    with pytest.raises(EditedAnalysisError, match="code of the processor"):
        compiled_engine(edited)
