"""From histograms to a statistical model and its fit."""
