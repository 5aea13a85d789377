"""Files that are written whole; histograms as JSON in the libraries' own format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from casa_env.settings.places import whole

if TYPE_CHECKING:
    import hist

__all__ = ["load_histograms", "save_histograms", "whole"]


def save_histograms(histograms: dict[str, hist.Hist[Any]], path: Path) -> None:
    """Write histograms as JSON that a version control system can show changes of.

    Numbers have all their digits: reading them back gives the same bits. Which versions
    of the libraries wrote them is left out.
    """
    import uhi.io
    import uhi.io.json
    from hist.serialization import to_uhi

    content = {
        name: uhi.io.remove_writer_info(to_uhi(one), library=None)
        for name, one in histograms.items()
    }
    plain = json.loads(json.dumps(content, default=uhi.io.json.default))
    with whole(path) as partial:
        partial.write_text(_text(plain) + "\n", encoding="utf-8")


def load_histograms(path: Path) -> dict[str, hist.Hist[Any]]:
    """Read histograms that `save_histograms` wrote, bin for bin with their variances.

    Raises
    ------
    ValueError
        The file is not JSON, or holds no such histograms.
    """
    import hist
    import uhi.io.json
    from hist.serialization import from_uhi

    try:
        content = json.loads(
            path.read_text(encoding="utf-8"), object_hook=uhi.io.json.object_hook
        )
        return {name: hist.Hist(from_uhi(one)) for name, one in content.items()}
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        msg = (
            f"{path} holds no histograms as JSON ({type(error).__name__}: {error}): "
            "write it again with agc.hists.io.save_histograms"
        )
        raise ValueError(msg) from error


def _text(value: Any, indent: str = "") -> str:  # noqa: ANN401 - whatever JSON holds
    """Return JSON with one line for each innermost list."""
    inner = indent + " "
    if isinstance(value, dict):
        lines = [f"{inner}{json.dumps(k)}: {_text(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], (list, dict)):
        lines = [inner + _text(one, inner) for one in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)
