"""Files with several sources, for `fsspec`: where one fails, the next is read.

``fsspec.open("failover://root://cache//f.root|root://origin//f.root")`` and everything
that opens URLs by way of fsspec, such as uproot and coffea.
"""

from fsspec_failover.failures import NoSourceError, NothingThereError
from fsspec_failover.filesystem import FailoverFileSystem
from fsspec_failover.hooks import HookError, Hooks, Options
from fsspec_failover.report import Failover, ReadReport, report
from fsspec_failover.sources import refused
from fsspec_failover.urls import SCHEME, failover_url, host_of, sources

__all__ = [
    "SCHEME",
    "Failover",
    "FailoverFileSystem",
    "HookError",
    "Hooks",
    "NoSourceError",
    "NothingThereError",
    "Options",
    "ReadReport",
    "failover_url",
    "host_of",
    "refused",
    "report",
    "sources",
]
