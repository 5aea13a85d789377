"""The analysis with a gradient, in its own environment: it is the ordinary analysis."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest

from support.programs import beside_python, run_beside


@pytest.fixture(scope="module")
def jax_python(repository: Path) -> Path:
    """Return the Python of the environment with JAX, which is made if need be."""
    return beside_python(repository, "differentiable")


@pytest.fixture(scope="module")
def said(jax_python: Path, repository: Path) -> Any:
    done = subprocess.run(
        [jax_python, "-m", "support.gradient_user"],
        cwd=repository / "notebooks",
        env=os.environ | {"PYTHONPATH": f"{repository}/tests:{repository}/notebooks"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def show(*words: object) -> None:
    """Print what a test has measured; ``pytest -s`` shows it."""
    print(*words)  # noqa: T201 - a figure to be read


def test_the_gradient_is_that_of_finite_differences(said: Any) -> None:
    apart = [abs(own / differences - 1) for own, differences in said["slopes"]]
    show("gradient and differences:", max(apart))
    assert len(apart) == 4
    assert max(apart) < 1e-5


def test_cuts_without_softness_give_the_ordinary_histograms(said: Any) -> None:
    found = said["hard"]
    show("soft histograms in the hard limit:", found)
    assert found["bins"] > 500
    assert found["contents"] < 1e-10
    assert found["variances"] < 1e-7  # coffea's version rounds squares of weights


def test_the_likelihood_is_pyhfs_at_random_points(said: Any) -> None:
    show("likelihood and pyhf's:", max(said["likelihood"]))
    assert len(said["likelihood"]) == 10
    assert max(said["likelihood"]) < 1e-8


def test_the_uncertainty_is_that_of_the_ordinary_fit(said: Any) -> None:
    (value, sigma), (ordinary, expected) = said["fit"]["jax"], said["fit"]["pyhf"]
    show(f"JAX: {value:.5f} ± {sigma:.5f}, ordinary: {ordinary:.5f} ± {expected:.5f}")
    assert sigma == pytest.approx(expected, rel=0.02)
    assert value == pytest.approx(ordinary, abs=0.02 * expected)


def test_fishers_information_is_the_second_derivative_for_expected_data(
    said: Any,
) -> None:
    fisher, hessian = said["fisher"]
    show("from Fisher's information and from the Hessian:", fisher, hessian)
    assert fisher == pytest.approx(hessian, rel=1e-8)


def test_an_analysis_own_error_comes_through_where_there_is_no_parsl(said: Any) -> None:
    assert said["failure"] == "ZeroDivisionError"


@pytest.mark.slow
def test_the_notebook_optimises_and_says_what_is_left(
    jax_python: Path, repository: Path, tmp_path: Path
) -> None:
    notebook = repository / "notebooks" / "agc-differentiable.ipynb"
    run_beside(jax_python, notebook, tmp_path)
    for name in ("soft", "gradients", "path", "uncertainty"):
        assert (tmp_path / "results" / f"{name}.png").stat().st_size > 10_000
    cells = nbformat.read(tmp_path / "n.ipynb", as_version=4).cells
    said = "".join(one.get("text", "") for one in cells[-1].outputs)
    assert "in the ordinary fit:" in said
    assert ("no significant gain" in said) or ("smaller" in said)
