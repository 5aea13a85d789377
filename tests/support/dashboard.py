"""The figures that the facility's dashboard asks for, and those that a page gives."""

from __future__ import annotations

import json
import re

from support.helm import CHART

NAME = re.compile(r"\b((?:dask|jupyterhub|nv)_[a-z_]+)")


def asked() -> set[str]:
    """Return the figures that the dashboard's panels ask for."""
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text())
    queries = [t["expr"] for panel in dashboard["panels"] for t in panel["targets"]]
    return set(NAME.findall(" ".join(queries)))


def given(text: str) -> set[str]:
    """Return the figures of a page for Prometheus."""
    return set(re.findall(r"^(?:# HELP )?([a-z_]+)[ {]", text, re.MULTILINE))
