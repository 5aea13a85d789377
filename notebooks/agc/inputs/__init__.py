"""Which files to read, and how they are read."""
