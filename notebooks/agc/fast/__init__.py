"""The compiled engine: the same histograms in one pass."""
