"""Histograms as JSON: exact, in a fixed order, one line for each list of bins."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agc.hists.spectra import contents, spectrum, variances

if TYPE_CHECKING:
    import hist

__all__ = ["load_histograms", "save_histograms"]

_FORMAT = "agc-histograms-1"


def save_histograms(histograms: dict[str, hist.Hist[Any]], path: Path) -> None:
    """Write histograms as JSON that a version control system can show changes of.

    Parameters
    ----------
    histograms
        One for each region, with the axes ``observable``, ``process``, ``variation``
        and the Weight storage.
    path
        The file; missing folders are created.

    Raises
    ------
    OSError
        The file cannot be written.

    Notes
    -----
    ``values`` and ``variances`` start with the underflow and end with the overflow.
    Numbers have all their digits: reading them back gives the same bits. A process and
    variation that was never filled is left out.
    """
    content = {
        "format": _FORMAT,
        "histograms": {
            region: _as_dict(histogram) for region, histogram in histograms.items()
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(content) + "\n", encoding="utf-8")


def load_histograms(path: Path) -> dict[str, hist.Hist[Any]]:
    """Read histograms that `save_histograms` wrote.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict of str to hist.Hist
        The histograms, bin for bin with their variances.

    Raises
    ------
    ValueError
        The file is not JSON, or not of this format.
    OSError
        The file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        msg = f"{path} is not JSON ({error}): write it with agc.hists.io"
        raise ValueError(msg) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != _FORMAT:
        msg = (
            f"{path} holds the format {found!r}, not {_FORMAT!r}: "
            "write it again with agc.hists.io.save_histograms"
        )
        raise ValueError(msg)
    return {region: _as_hist(one) for region, one in content["histograms"].items()}


def _as_dict(histogram: hist.Hist[Any]) -> dict[str, Any]:
    observable, process, variation = (
        histogram.axes[name] for name in ("observable", "process", "variation")
    )
    filled: dict[str, dict[str, dict[str, list[float]]]] = {}
    for p in process:
        for v in variation:
            one = spectrum(histogram, p, v)
            if contents(one, flow=True).any():
                filled.setdefault(p, {})[v] = {
                    "values": contents(one, flow=True).tolist(),
                    "variances": variances(one, flow=True).tolist(),
                }
    return {
        "label": observable.label,
        "edges": observable.edges.tolist(),
        "processes": list(process),
        "variations": list(variation),
        "contents": filled,
    }


def _as_hist(one: dict[str, Any]) -> hist.Hist[Any]:
    import hist

    histogram = hist.Hist(
        _axis(one["edges"], one["label"]),
        hist.axis.StrCategory(one["processes"], name="process", label="Process"),
        hist.axis.StrCategory(one["variations"], name="variation", label="Variation"),
        storage=hist.storage.Weight(),
        label="Events",
    )
    for process, variations in one["contents"].items():
        for variation, bins in variations.items():
            histogram[:, hist.loc(process), hist.loc(variation)] = np.stack(
                [bins["values"], bins["variances"]], axis=-1
            )
    return histogram


def _axis(edges: list[float], label: str) -> Any:  # noqa: ANN401 - one of two axis types
    import hist

    regular = hist.axis.Regular(
        len(edges) - 1, edges[0], edges[-1], name="observable", label=label
    )
    if np.array_equal(regular.edges, edges):
        return regular
    return hist.axis.Variable(edges, name="observable", label=label)


def _text(value: Any, indent: str = "") -> str:  # noqa: ANN401 - whatever JSON holds
    if not isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    inner = indent + " "
    lines = [f"{inner}{json.dumps(k)}: {_text(v, inner)}" for k, v in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
