"""Figures and tables of an analysis."""
