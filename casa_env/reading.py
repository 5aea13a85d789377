"""Gone with the modules that still import it."""

from fsspec_failover.report import LEDGER, ReadReport

__all__ = ["LEDGER", "ReadReport"]
