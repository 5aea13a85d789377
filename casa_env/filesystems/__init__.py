"""File systems that `fsspec` makes when one of their URLs is opened.

Only here are third-party packages imported at the top: these classes derive from
theirs. Nothing of casa_env imports this when it is imported itself.
"""
