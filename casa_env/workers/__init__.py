"""Dask clusters of a site, their workers, and what the workers have and are given."""
