"""JupyterLab's Dask panel: configured as it is shipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from distributed import Client

SHIPPED = Path(__file__).resolve().parents[2] / "environment" / "dask" / "casa.yaml"


def panel_configuration() -> dict[str, Any]:
    """Return all that the panel reads of Dask's configuration.

    All of it, because dask-labextension adds its defaults when it is first imported: a
    test in which that happens would take them away again when it restores what was.
    """
    panel = yaml.safe_load(SHIPPED.read_text())["labextension"]
    defaults = {"default": {"workers": None, "adapt": None}, "initial": []}
    return {"labextension": defaults | panel}


def join(address: str, user: Mapping[str, str]) -> Client:
    """Join the panel's cluster as its user's notebooks do, whose home has the keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", user["HOME"])
        patch.delenv("XDG_STATE_HOME", raising=False)
        return Client(address, set_as_default=False)
