"""The statistical model of the HZZ task."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agc.hists.spectra import spectrum
from agc.hzz.histograms import OBSERVABLE, REGION, processes_of
from agc.hzz.samples import DATA
from agc.hzz.variations import NOMINAL, SYSTEMATICS, ZZ_NORM_UNCERTAINTY
from agc.model.workspace import norm_plus_shape, workspace_of

if TYPE_CHECKING:
    import hist

__all__ = ["POI", "ZZ_NORM", "build_workspace", "configuration"]

#: The parameter of interest: the signal over its prediction.
POI = "Signal_norm"
#: The nuisance parameter of the ZZ cross-section, in units of its uncertainty.
ZZ_NORM = "ZZ_norm"

#: How far a systematic may go, in units of its uncertainty. Beside a narrow peak the
#: extrapolated mass scale makes negative yields from 2.5 on, where no likelihood is.
_REACH = 2.0


def configuration(histogram: hist.Hist[Any], folder: Path) -> dict[str, Any]:
    """Describe the model in cabinetry's terms.

    Parameters
    ----------
    histogram
        As `agc.hzz.histograms.histogram_of` returns it; processes without events are
        left out of the model.
    folder
        Where cabinetry keeps its template files.

    Returns
    -------
    dict
        A cabinetry configuration: one region, `POI` on the signal between 0 and 10, a
        NormPlusShape systematic for each entry of `agc.hzz.variations.SYSTEMATICS`, and
        `ZZ_NORM`.

    Notes
    -----
    The model is the AGC's (``config.yml`` of its HZZ analysis).
    """
    processes = processes_of(histogram)
    return {
        "General": {
            "Measurement": "ATLAS_HZZ",
            "POI": POI,
            "HistogramFolder": str(folder),
            # cabinetry wants a path, but the templates come from memory.
            "InputPath": "",
        },
        "Regions": [
            {
                "Name": REGION,
                "Variable": OBSERVABLE,
                "Binning": histogram.axes["observable"].edges.tolist(),
            }
        ],
        "Samples": [{"Name": DATA, "Data": True}, *({"Name": p} for p in processes)],
        "Systematics": [
            *(norm_plus_shape(systematic, processes) for systematic in SYSTEMATICS),
            {
                "Name": ZZ_NORM,
                "Type": "Normalization",
                "Up": {"Normalization": ZZ_NORM_UNCERTAINTY},
                "Down": {"Normalization": -ZZ_NORM_UNCERTAINTY},
                "Samples": "ZZ",
            },
        ],
        "NormFactors": [
            {"Name": POI, "Samples": "signal", "Nominal": 1.0, "Bounds": [0, 10]}
        ],
    }


def build_workspace(
    histogram: hist.Hist[Any], data: hist.Hist[Any] | None = None
) -> dict[str, Any]:
    """Build the pyhf workspace.

    Parameters
    ----------
    histogram
        Data and simulation, as `agc.hzz.histograms.histogram_of` returns them.
    data
        Other yields to fit than those of the histogram, with its ``observable`` axis.

    Returns
    -------
    dict
        A workspace that passed pyhf's schema.

    Raises
    ------
    ValueError
        There is no simulated signal or no ZZ.
    """
    missing = {"signal", "ZZ"} - set(processes_of(histogram))
    if missing:
        msg = f"no simulated events of {', '.join(sorted(missing))}: nothing to fit"
        raise ValueError(msg)
    observed = spectrum(histogram, DATA, NOMINAL) if data is None else data

    def template(_region: str, process: str, variation: str) -> hist.Hist[Any]:
        return spectrum(histogram, process, variation)

    with tempfile.TemporaryDirectory(prefix="hzz-templates-") as folder:
        config = configuration(histogram, Path(folder))
        workspace = workspace_of(config, lambda _: observed, template)
    parameters = workspace["measurements"][0]["config"]["parameters"]
    parameters.extend(
        {"name": one.label, "inits": [0.0], "bounds": [[-_REACH, _REACH]]}
        for one in SYSTEMATICS
    )
    return workspace
