"""Models that are served and runs that are recorded, on top of `casa_env`."""
