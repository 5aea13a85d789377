"""The HZZ analysis as its notebook shows it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from coffea.processor import IterativeExecutor

from agc.hzz.processor import HzzProcessor, HzzResult, run_hzz
from support.notebook import analysis_code, run_code


@lru_cache
def shown() -> dict[str, Any]:
    """Return what agc-hzz.ipynb defines: ``selection``, ``INVERTED``, …."""
    return run_code(analysis_code("agc-hzz"))


def run_shown(
    fileset: dict[str, Any], executor: Any = None, **options: Any
) -> HzzResult:
    """Run what the notebook shows, in this process if there is no executor."""
    names = ("selection", "four_lepton_mass", "INVERTED")
    processor = HzzProcessor(*(shown()[name] for name in names))
    executor = executor or IterativeExecutor(status=False)
    return run_hzz(fileset, executor, processor, **options)
