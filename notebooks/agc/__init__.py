"""The analysis code that the notebooks share."""
