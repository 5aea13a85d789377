"""Gone with the modules that still import it."""

from casa_env.data.xcache import xcache_fileset, xcache_url
from fsspec_failover.urls import host_of, sources

__all__ = ["host_of", "sources", "xcache_fileset", "xcache_url"]
