"""Gone with the modules that still import it."""

from casa_env.tokens.proxy import authorities, x509_proxy

__all__ = ["authorities", "x509_proxy"]
