"""Where files are read from here: through the site's caches and from its store."""
