"""Histograms: made, compared, kept."""
