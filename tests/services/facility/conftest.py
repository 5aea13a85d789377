"""The facility's chart, and the programs that render and judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.helm import Tools, chart_with_stand_ins, facility_tools


@pytest.fixture(scope="session")
def tools() -> Tools:
    return facility_tools()


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the chart, in a copy with empty charts for those it depends on."""
    return chart_with_stand_ins(tmp_path_factory.mktemp("chart"))


@pytest.fixture(
    scope="module", params=["values.yaml", "values-laptop.yaml", "values-tier2.yaml"]
)
def rendered(
    request: pytest.FixtureRequest, tools: Tools, chart: Path
) -> list[dict[str, Any]]:
    """Return what each of the examples becomes."""
    return tools.render(chart, "--values", str(chart / request.param))
