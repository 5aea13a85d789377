"""The AGC's ttbar task."""
