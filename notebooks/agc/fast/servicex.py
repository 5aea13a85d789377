"""The ttbar columns by way of ServiceX: the query, and a fileset made of the result.

ServiceX reads files next to where they are and delivers some columns of some events.
What it delivers is read like any input: same branches, same tree. So the analysis, and
its result, do not depend on whether there is a ServiceX.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agc.errors import AnalysisError
from agc.fast import selection
from agc.fast.columns import BRANCHES
from agc.fast.preselection import REACH
from agc.inputs.filesets import TREE, Dataset, Fileset
from agc.served.servicex import servicex_config
from casa_env import load_settings

if TYPE_CHECKING:
    from casa_env import Settings

__all__ = ["CUT", "delivered_fileset", "result_fileset"]

#: A little below what the preselection asks for: that compares in double precision.
_JET_PT_MIN = 0.999 * selection.JET_PT_MIN / REACH

_ELECTRON = (
    f"(Electron_pt > {selection.LEPTON_PT_MIN})"
    f" & (abs(Electron_eta) < {selection.LEPTON_ETA_MAX})"
    f" & (Electron_cutBased == {selection.ELECTRON_TIGHT})"
    f" & (Electron_sip3d < {selection.LEPTON_SIP3D_MAX})"
)
_MUON = (
    f"(Muon_pt > {selection.LEPTON_PT_MIN})"
    f" & (abs(Muon_eta) < {selection.LEPTON_ETA_MAX})"
    " & Muon_tightId"
    f" & (Muon_sip3d < {selection.LEPTON_SIP3D_MAX})"
    f" & (Muon_pfRelIso04_all < {selection.MUON_ISOLATION_MAX})"
)
_JET = (
    f"(Jet_pt > {_JET_PT_MIN:.4f})"
    f" & (abs(Jet_eta) < {selection.JET_ETA_MAX})"
    f" & ((Jet_jetId & {selection.JET_ID_TIGHT_LEPTON_VETO}) != 0)"
)

#: Which events are delivered: those that some variation could select, as
#: `agc.fast.preselection` says; `sum` and `any` are over the objects of an event.
CUT = (
    f"((sum({_ELECTRON}) + sum({_MUON})) == 1)"
    f" & (sum({_JET}) >= {selection.MIN_JETS})"
    f" & any({_JET} & (Jet_btagCSVV2 > {selection.BTAG_THRESHOLD}))"
)


def ttbar_spec(fileset: Mapping[str, Dataset]) -> dict[str, Any]:
    """Return what `servicex.deliver` is to do with files that ServiceX can reach.

    That is one sample for each dataset: all branches that the analysis reads, of the
    events that some variation could select.
    """
    from servicex import dataset, query

    from fsspec_failover import sources

    subquery = {"treename": TREE, "filter_name": list(BRANCHES), "cut": CUT}
    return {
        "General": {"OutputFormat": "root-ttree", "Delivery": "LocalCache"},
        "Sample": [
            {
                "Name": name,
                "Dataset": dataset.FileList([sources(f)[-1] for f in about["files"]]),
                "Query": query.UprootRaw([subquery]),
            }
            for name, about in fileset.items()
        ],
    }


def result_fileset(
    fileset: Mapping[str, Dataset], delivered: Mapping[str, Sequence[str]]
) -> Fileset:
    """Return a fileset of what was delivered, normalised like the one asked for.

    ``delivered`` are the files by dataset, as `servicex.deliver` returns them; a
    dataset that is not there is an `AnalysisError`. Its generated events are spread
    over its files: together they stand for all that were asked for, whichever file each
    event came from.
    """
    new: Fileset = {}
    for name, about in fileset.items():
        files = [str(file) for file in delivered.get(name, [])]
        if not files:
            msg = f"ServiceX has delivered nothing of the dataset {name}: run again"
            raise AnalysisError(msg)
        whole, rest = divmod(sum(about["nevts"].values()), len(files))
        nevts = {file: whole + (i < rest) for i, file in enumerate(files)}
        metadata = about["metadata"]
        tree = dict.fromkeys(files, TREE)
        new[name] = {"files": tree, "metadata": metadata, "nevts": nevts}
    return new


def delivered_fileset(fileset: Fileset, settings: Settings | None = None) -> Fileset:
    """Let ServiceX deliver a fileset's columns, where there is one.

    On a laptop and on Binder there is none, and the same columns are read straight from
    the files: the fileset is returned as it is. So it is at a facility for files that
    only this machine can read, such as the simulated stand-in.

    Raises
    ------
    AnalysisError
        ServiceX has not delivered all.
    CredentialsError
        Its token cannot be used.
    """
    settings = settings or load_settings()
    remote = all("://" in file for about in fileset.values() for file in about["files"])
    if not settings.servicex_endpoint or not remote:
        return fileset
    from servicex import ProgressBarFormat, deliver

    with servicex_config(settings) as config_path:
        delivered = deliver(
            ttbar_spec(fileset),
            config_path=config_path,
            return_exceptions=False,
            progress_bar=ProgressBarFormat.none,
        )
    return result_fileset(fileset, delivered or {})
